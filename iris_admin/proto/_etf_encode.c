/* The encoding half of the fast twin: see _etf.h. */
#include "_etf.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

/* The bytes of an encoded term at first, and those from which on the kernel is asked for large pages. */
#define FIRST_ROOM 1024
#define LARGE_ROOM (4 * 1024 * 1024)

/* A list of so many elements lets one guess how large the whole term will be: up to so many bytes, or 16 times what
 * there is already. */
#define LONG_LIST 64
#define MOST_GUESSED (64 * 1024 * 1024)

typedef struct {
    State *state;
    unsigned char *data; /* either first or in bytes */
    Py_ssize_t size, room;
    PyObject *bytes;
    int depth;
    /* Of the first long list: where in data it starts, how many of its elements there are, how many are written. */
    Py_ssize_t list_start, list_size, list_done;
    unsigned char first[FIRST_ROOM];
} Writer;

static int write_term(Writer *writer, PyObject *term);

/* How much room to have next, if at least so much is needed. */
static Py_ssize_t
next_room(const Writer *writer, Py_ssize_t needed)
{
    if (writer->list_done > 0) {
        /* The elements so far may be no measure for the rest; but room that is never used costs nothing. */
        double one = (double)(writer->size - writer->list_start) / (double)writer->list_done;
        double guess = ((double)writer->list_start + one * (double)writer->list_size) * 1.125;
        double most = needed > MOST_GUESSED / 16 ? 16.0 * (double)needed : MOST_GUESSED;
        if (guess > (double)needed)
            return (Py_ssize_t)(guess < most ? guess : most);
    }
    return 2 * needed;
}

static int
grow(Writer *writer, Py_ssize_t size)
{
    if (size > PY_SSIZE_T_MAX / 32 - writer->size) {
        PyErr_NoMemory();
        return -1;
    }
    Py_ssize_t room = next_room(writer, writer->size + size);
    if (writer->bytes == NULL) {
        writer->bytes = PyBytes_FromStringAndSize(NULL, room);
        if (writer->bytes == NULL)
            return -1;
        memcpy(PyBytes_AS_STRING(writer->bytes), writer->first, (size_t)writer->size);
    } else if (_PyBytes_Resize(&writer->bytes, room) < 0) {
        return -1;
    }
    writer->data = (unsigned char *)PyBytes_AS_STRING(writer->bytes);
    writer->room = room;
#ifdef MADV_HUGEPAGE
    /* Fresh memory comes in pages of 4 KiB, and each costs the kernel half a microsecond: more, all in all, than the
     * encoding. It is only a hint, and it takes in the whole pages that the object lies in. */
    if (room >= LARGE_ROOM) {
        uintptr_t page = 4096, start = (uintptr_t)writer->data & ~(page - 1);
        uintptr_t end = ((uintptr_t)writer->data + (uintptr_t)room + page - 1) & ~(page - 1);
        (void)madvise((void *)start, end - start, MADV_HUGEPAGE);
    }
#endif
    return 0;
}

/* Where to write so many bytes. */
static inline unsigned char *
take(Writer *writer, Py_ssize_t size)
{
    if (size > writer->room - writer->size && grow(writer, size) < 0)
        return NULL;
    unsigned char *data = writer->data + writer->size;
    writer->size += size;
    return data;
}

static inline void
put_u32(unsigned char *data, uint32_t value)
{
    data[0] = (unsigned char)(value >> 24);
    data[1] = (unsigned char)(value >> 16);
    data[2] = (unsigned char)(value >> 8);
    data[3] = (unsigned char)value;
}

/* Not inline: where GCC sees that the size is small, it would copy by an instruction that takes longer to start than
 * the rest takes in all. */
static Py_NO_INLINE int
write_bytes(Writer *writer, const char *bytes, Py_ssize_t size)
{
    unsigned char *data = take(writer, size);
    if (data == NULL)
        return -1;
    memcpy(data, bytes, (size_t)size);
    return 0;
}

/* A tag and a count of 32 bits. */
static int
write_head(Writer *writer, int tag, Py_ssize_t count)
{
    if ((uint64_t)count > UINT32_MAX)
        return -1;
    unsigned char *data = take(writer, 5);
    if (data == NULL)
        return -1;
    data[0] = (unsigned char)tag;
    put_u32(data + 1, (uint32_t)count);
    return 0;
}

static int
write_binary(Writer *writer, PyObject *binary)
{
    Py_ssize_t size = PyBytes_GET_SIZE(binary);
    if (write_head(writer, TAG_BINARY, size) < 0)
        return -1;
    return write_bytes(writer, PyBytes_AS_STRING(binary), size);
}

static int
write_atom(Writer *writer, PyObject *atom)
{
    Py_ssize_t size = PyUnicode_GET_LENGTH(atom);
    const char *name;
    if (PyUnicode_IS_ASCII(atom)) {
        name = (const char *)PyUnicode_1BYTE_DATA(atom);
    } else if ((name = PyUnicode_AsUTF8AndSize(atom, &size)) == NULL) {
        give_up();
        return -1;
    }
    /* A value may hold both True and Atom("true"), one key in two spellings: the pure codec looks after these. */
    if (size > 255 || (size == 4 && memcmp(name, "true", 4) == 0) || (size == 5 && memcmp(name, "false", 5) == 0))
        return -1;
    unsigned char *data = take(writer, 2);
    if (data == NULL)
        return -1;
    data[0] = TAG_SMALL_ATOM_UTF8;
    data[1] = (unsigned char)size;
    return write_bytes(writer, name, size);
}

/* By the pure codec's function. */
static int
write_leaf(Writer *writer, PyObject *term)
{
    PyObject *pure = etf_late(writer->state, ENCODE_LEAF);
    PyObject *leaf = pure == NULL ? NULL : PyObject_CallFunctionObjArgs(pure, term, (PyObject *)Py_TYPE(term), NULL);
    if (leaf == NULL) {
        give_up();
        return -1;
    }
    int result = PyBytes_CheckExact(leaf) ? write_bytes(writer, PyBytes_AS_STRING(leaf), PyBytes_GET_SIZE(leaf)) : -1;
    Py_DECREF(leaf);
    return result;
}

static int
write_integer(Writer *writer, PyObject *integer)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
    if (overflow)
        return write_leaf(writer, integer);
    if (0 <= value && value <= 255) {
        unsigned char *data = take(writer, 2);
        if (data == NULL)
            return -1;
        data[0] = TAG_SMALL_INTEGER;
        data[1] = (unsigned char)value;
        return 0;
    }
    if (INT32_MIN <= value && value <= INT32_MAX) {
        unsigned char *data = take(writer, 5);
        if (data == NULL)
            return -1;
        data[0] = TAG_INTEGER;
        put_u32(data + 1, (uint32_t)value);
        return 0;
    }
    unsigned char *data = take(writer, 3 + 8);
    if (data == NULL)
        return -1;
    unsigned long long rest = value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;
    int size = 0;
    for (; rest > 0; rest >>= 8)
        data[3 + size++] = (unsigned char)(rest & 0xFF);
    data[0] = TAG_SMALL_BIG;
    data[1] = (unsigned char)size;
    data[2] = value < 0;
    writer->size -= 8 - size;
    return 0;
}

static int
write_float(Writer *writer, PyObject *number)
{
    double value = PyFloat_AS_DOUBLE(number);
    if (!isfinite(value))
        return -1;
    unsigned char *data = take(writer, 9);
    if (data == NULL)
        return -1;
    data[0] = TAG_NEW_FLOAT;
    return PyFloat_Pack8(value, (char *)data + 1, 0);
}

/* The number, or -1 for anything but an int of 32 bits. */
static int64_t
u32_of(PyObject *number)
{
    int overflow = 1;
    long long value = PyLong_CheckExact(number) ? PyLong_AsLongLongAndOverflow(number, &overflow) : -1;
    return overflow || value < 0 || value > UINT32_MAX ? -1 : value;
}

static int
write_u32(Writer *writer, PyObject *number)
{
    int64_t value = u32_of(number);
    unsigned char *data = value < 0 ? NULL : take(writer, 4);
    if (data == NULL)
        return -1;
    put_u32(data, (uint32_t)value);
    return 0;
}

static PyObject *
field_of(Writer *writer, PyObject *object, int field)
{
    PyObject *descriptor = writer->state->fields[field];
    PyObject *value = Py_TYPE(descriptor)->tp_descr_get(descriptor, object, (PyObject *)Py_TYPE(object));
    return value != NULL ? value : give_up();
}

/* A field that is a number of 32 bits. */
static int
write_number(Writer *writer, PyObject *object, int field)
{
    PyObject *number = field_of(writer, object, field);
    if (number == NULL)
        return -1;
    int result = write_u32(writer, number);
    Py_DECREF(number);
    return result;
}

/* A field that is the name of a node. */
static int
write_node(Writer *writer, PyObject *object, int field)
{
    PyObject *node = field_of(writer, object, field);
    if (node == NULL)
        return -1;
    int result = (PyObject *)Py_TYPE(node) == writer->state->imported[ATOM] ? write_atom(writer, node) : -1;
    Py_DECREF(node);
    return result;
}

static int
write_pid(Writer *writer, PyObject *pid)
{
    static const char tag = TAG_NEW_PID;
    if (write_bytes(writer, &tag, 1) < 0 || write_node(writer, pid, PID_NODE) < 0
        || write_number(writer, pid, PID_ID) < 0 || write_number(writer, pid, PID_SERIAL) < 0)
        return -1;
    return write_number(writer, pid, PID_CREATION);
}

static int
write_reference(Writer *writer, PyObject *reference)
{
    PyObject *ids = field_of(writer, reference, REFERENCE_IDS);
    if (ids == NULL)
        return -1;
    int result = -1;
    if (PyTuple_CheckExact(ids) && 1 <= PyTuple_GET_SIZE(ids) && PyTuple_GET_SIZE(ids) <= MAX_REFERENCE_WORDS) {
        char head[3] = {TAG_NEWER_REFERENCE, 0, (char)PyTuple_GET_SIZE(ids)};
        result = write_bytes(writer, head, 3);
        if (result == 0)
            result = write_node(writer, reference, REFERENCE_NODE);
        if (result == 0)
            result = write_number(writer, reference, REFERENCE_CREATION);
        for (Py_ssize_t index = 0; result == 0 && index < PyTuple_GET_SIZE(ids); index++)
            result = write_u32(writer, PyTuple_GET_ITEM(ids, index));
    }
    Py_DECREF(ids);
    return result;
}

static int
write_tuple(Writer *writer, PyObject *tuple)
{
    Py_ssize_t size = PyTuple_GET_SIZE(tuple);
    if (size <= 255) {
        unsigned char *data = take(writer, 2);
        if (data == NULL)
            return -1;
        data[0] = TAG_SMALL_TUPLE;
        data[1] = (unsigned char)size;
    } else if (write_head(writer, TAG_LARGE_TUPLE, size) < 0) {
        return -1;
    }
    for (Py_ssize_t index = 0; index < size; index++)
        if (write_term(writer, PyTuple_GET_ITEM(tuple, index)) < 0)
            return -1;
    return 0;
}

/* STRING_EXT, for a list of bytes: 1 when it is written, 0 for any other list. */
static int
write_string(Writer *writer, PyObject *list)
{
    Py_ssize_t size = PyList_GET_SIZE(list);
    if (size > 0xFFFF || !PyLong_CheckExact(PyList_GET_ITEM(list, 0)))
        return 0;
    unsigned char *data = take(writer, 3 + size);
    if (data == NULL)
        return -1;
    data[0] = TAG_STRING;
    data[1] = (unsigned char)(size >> 8);
    data[2] = (unsigned char)size;
    for (Py_ssize_t index = 0; index < size; index++) {
        int64_t value = u32_of(PyList_GET_ITEM(list, index));
        if (value < 0 || value > 255) {
            writer->size -= 3 + size;
            return 0;
        }
        data[3 + index] = (unsigned char)value;
    }
    return 1;
}

/* Some leaves are written by Python code, during which another thread may change a list or a map. So their size is
 * looked at again each time, and what is taken out of them is held. */
static int
write_list(Writer *writer, PyObject *list)
{
    static const char nil = TAG_NIL;
    Py_ssize_t size = PyList_GET_SIZE(list);
    if (size == 0)
        return write_bytes(writer, &nil, 1);
    int written = write_string(writer, list);
    if (written != 0)
        return written < 0 ? -1 : 0;
    int is_first_long = writer->list_size == 0 && size >= LONG_LIST;
    if (is_first_long) {
        writer->list_start = writer->size;
        writer->list_size = size;
    }
    if (write_head(writer, TAG_LIST, size) < 0)
        return -1;
    for (Py_ssize_t index = 0; index < size; index++) {
        if (PyList_GET_SIZE(list) != size)
            return -1;
        if (is_first_long)
            writer->list_done = index;
        PyObject *element = Py_NewRef(PyList_GET_ITEM(list, index));
        int result = write_term(writer, element);
        Py_DECREF(element);
        if (result < 0)
            return -1;
    }
    if (is_first_long)
        writer->list_size = writer->list_done = 0;
    return write_bytes(writer, &nil, 1);
}

static int
write_map(Writer *writer, PyObject *map)
{
    Py_ssize_t size = PyDict_GET_SIZE(map), at = 0, written = 0;
    PyObject *key, *value;
    if (write_head(writer, TAG_MAP, size) < 0)
        return -1;
    for (; PyDict_Next(map, &at, &key, &value); written++) {
        Py_INCREF(key);
        Py_INCREF(value);
        int result = write_term(writer, key);
        if (result == 0)
            result = write_term(writer, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (result < 0 || PyDict_GET_SIZE(map) != size)
            return -1;
    }
    return written == size ? 0 : -1;
}

static int
write_term(Writer *writer, PyObject *term)
{
    PyTypeObject *type = Py_TYPE(term);
    PyObject *const *imported = writer->state->imported;
    if (type == &PyBytes_Type)
        return write_binary(writer, term);
    if ((PyObject *)type == imported[ATOM])
        return write_atom(writer, term);
    if (type == &PyLong_Type)
        return write_integer(writer, term);
    if (type == &PyTuple_Type || type == &PyList_Type || type == &PyDict_Type) {
        if (writer->depth == MAX_DEPTH)
            return -1;
        writer->depth++;
        int result = type == &PyTuple_Type  ? write_tuple(writer, term)
                     : type == &PyList_Type ? write_list(writer, term)
                                            : write_map(writer, term);
        writer->depth--;
        return result;
    }
    if (type == &PyBool_Type)
        return term == Py_True ? write_bytes(writer, "w\4true", 6) : write_bytes(writer, "w\5false", 7);
    if (type == &PyFloat_Type)
        return write_float(writer, term);
    if ((PyObject *)type == imported[PID])
        return write_pid(writer, term);
    if ((PyObject *)type == imported[REFERENCE])
        return write_reference(writer, term);
    if ((PyObject *)type == imported[PORT] || (PyObject *)type == imported[EXPORT]
        || (PyObject *)type == imported[BIT_STRING])
        return write_leaf(writer, term);
    return -1;
}

PyObject *
etf_write(State *state, PyObject *term, int with_version)
{
    Writer writer;
    writer.state = state;
    writer.data = writer.first;
    writer.size = with_version;
    writer.room = FIRST_ROOM;
    writer.bytes = NULL;
    writer.depth = 0;
    writer.list_start = writer.list_size = writer.list_done = 0;
    writer.first[0] = VERSION;
    if (write_term(&writer, term) < 0) {
        Py_XDECREF(writer.bytes);
        return NULL;
    }
    if (writer.bytes == NULL)
        return PyBytes_FromStringAndSize((const char *)writer.first, writer.size);
    (void)_PyBytes_Resize(&writer.bytes, writer.size); /* makes it NULL when it fails */
    return writer.bytes;
}
