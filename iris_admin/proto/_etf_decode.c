/* The decoding half of the fast twin: see _etf.h. */
#include "_etf.h"

/* After so many bytes of a large term another thread gets its turn, if it asks for it. */
#define TURN (16 * 1024)
/* While a term is still coming, that is also when more of it is received. */
#define TURN_COMING (128 * 1024)

typedef struct {
    State *state;
    PyObject *source; /* bytes, of which data and end are; NULL as long as nobody needs them */
    const unsigned char *data;
    Py_ssize_t at, end;
    PyObject *more; /* waits for data that still comes, of which there may be so much; or NULL */
    Py_ssize_t room;
    int depth;
    Py_ssize_t turn_ends_at;
    /* The items of lists and maps that are not complete yet, one list behind the other. Nothing is made in the size
     * that a list announces, because that may be a lie. */
    PyObject **items;
    Py_ssize_t item_count, item_room;
} Reader;

static PyObject *read_term(Reader *reader);

/* Call a function of the pure codec with the whole source and the offset where it is to read. */
static PyObject *
call_pure(Reader *reader, PyObject *function)
{
    if (reader->more != NULL) /* that function could not wait */
        return NULL;
    if (reader->source == NULL) {
        reader->source = PyBytes_FromStringAndSize((const char *)reader->data, reader->end);
        if (reader->source == NULL)
            return NULL;
    }
    return PyObject_CallFunction(function, "On", reader->source, reader->at);
}

static inline uint32_t
u16_at(const unsigned char *data)
{
    return (uint32_t)data[0] << 8 | data[1];
}

static inline uint32_t
u32_at(const unsigned char *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

/* Wait until so many bytes are left, if more is to come; whether they are then. */
static int
come(Reader *reader, uint64_t size)
{
    if (reader->more == NULL || size > (uint64_t)(reader->room - reader->at))
        return 0;
    PyObject *filled = PyObject_CallFunction(reader->more, "n", reader->at + (Py_ssize_t)size);
    if (filled == NULL)
        return 0;
    Py_ssize_t end = PyLong_AsSsize_t(filled);
    Py_DECREF(filled);
    if (end < reader->end || end > reader->room) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "so much cannot have come");
        return 0;
    }
    reader->end = end;
    return size <= (uint64_t)(end - reader->at);
}

/* Whether so many bytes are left. */
static inline int
has(Reader *reader, uint64_t size)
{
    return size <= (uint64_t)(reader->end - reader->at) || come(reader, size);
}

/* Steals the item. NULL stands for what its maker could not make. */
static int
push(Reader *reader, PyObject *item)
{
    if (item == NULL)
        return -1;
    if (reader->item_count == reader->item_room) {
        Py_ssize_t room = reader->item_room ? reader->item_room * 2 : 64;
        PyObject **items = PyMem_Realloc(reader->items, (size_t)room * sizeof(PyObject *));
        if (items == NULL) {
            Py_DECREF(item);
            PyErr_NoMemory();
            return -1;
        }
        reader->items = items;
        reader->item_room = room;
    }
    reader->items[reader->item_count++] = item;
    return 0;
}

/* Let another thread run, such as one that makes a short call meanwhile, if it asks for its turn; and let Ctrl-C end the
 * decoding. Python sees to both when a function of its own begins. To release the lock each time and take it again would
 * not do: who waits for it would be woken, find it taken, and begin to wait anew before it has asked. */
static int
take_turns(Reader *reader)
{
    reader->turn_ends_at = reader->at + (reader->more == NULL ? TURN : TURN_COMING);
    if (reader->more != NULL)
        return come(reader, 0) ? 0 : -1;
    PyObject *function = etf_late(reader->state, TAKE_TURNS);
    PyObject *nothing = function == NULL ? NULL : PyObject_CallNoArgs(function);
    Py_XDECREF(nothing);
    return nothing == NULL ? -1 : 0;
}

static int
push_terms(Reader *reader, uint64_t count)
{
    for (; count > 0; count--) {
        if (reader->at >= reader->turn_ends_at && take_turns(reader) < 0)
            return -1;
        if (push(reader, read_term(reader)) < 0)
            return -1;
    }
    return 0;
}

static void
drop_items(Reader *reader, Py_ssize_t first)
{
    while (reader->item_count > first)
        Py_DECREF(reader->items[--reader->item_count]);
}

/* Move the items from the first one on into a new list. */
static PyObject *
pop_list(Reader *reader, Py_ssize_t first)
{
    Py_ssize_t size = reader->item_count - first;
    PyObject *list = PyList_New(size);
    if (list == NULL)
        return NULL;
    for (Py_ssize_t index = 0; index < size; index++)
        PyList_SET_ITEM(list, index, reader->items[first + index]);
    reader->item_count = first;
    return list;
}

/* The same for a tuple. */
static PyObject *
pop_tuple(Reader *reader, Py_ssize_t first)
{
    Py_ssize_t size = reader->item_count - first;
    PyObject *tuple = PyTuple_New(size);
    if (tuple == NULL)
        return NULL;
    for (Py_ssize_t index = 0; index < size; index++)
        PyTuple_SET_ITEM(tuple, index, reader->items[first + index]);
    reader->item_count = first;
    return tuple;
}

/* Tell the cyclic garbage collector that it need not look at an object that can never be part of a cycle. */
static inline void
untrack(PyObject *object)
{
    if (PyObject_IS_GC(object) && PyObject_GC_IsTracked(object))
        PyObject_GC_UnTrack(object);
}

/* The same for a tuple of which that is true: nothing in it can change. The collector finds that out for itself, but
 * only after it has walked through a large reply. */
static inline void
untrack_tuple(State *state, PyObject *tuple)
{
    for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(tuple); index++) {
        PyObject *item = PyTuple_GET_ITEM(tuple, index), *type = (PyObject *)Py_TYPE(item);
        if (!PyObject_IS_GC(item))
            continue;
        int cannot_change = PyTuple_CheckExact(item) || type == state->imported[ATOM] || type == state->imported[PID]
                            || type == state->imported[REFERENCE];
        if (!cannot_change || PyObject_GC_IsTracked(item))
            return;
    }
    untrack(tuple);
}

/* Steals the name, which may be NULL. */
static PyObject *
new_atom(State *state, PyObject *name)
{
    if (name == NULL)
        return give_up();
    PyObject *atom = PyObject_CallOneArg(state->imported[ATOM], name);
    Py_DECREF(name);
    if (atom == NULL)
        return give_up();
    untrack(atom);
    return atom;
}

static PyObject *
find_atom(State *state, const char *name, Py_ssize_t size, int is_utf8)
{
    if (size == 4 && memcmp(name, "true", 4) == 0)
        return Py_NewRef(Py_True);
    if (size == 5 && memcmp(name, "false", 5) == 0)
        return Py_NewRef(Py_False);
    uint64_t hash = (uint64_t)size, bits = 0, word;
    for (Py_ssize_t at = 0; at < size; at += 8) {
        if (size - at >= 8) {
            memcpy(&word, name + at, 8);
        } else if (size >= 8) {
            memcpy(&word, name + size - 8, 8);
        } else {
            word = 0;
            for (; at < size; at++)
                word = word << 8 | (unsigned char)name[at];
        }
        bits |= word;
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    if (bits & 0x8080808080808080u) /* not ASCII */
        return new_atom(
            state, is_utf8 ? PyUnicode_DecodeUTF8(name, size, NULL) : PyUnicode_DecodeLatin1(name, size, NULL));
    PyObject **slot = &state->atoms[hash & (ATOM_SLOTS - 1)];
    if (*slot != NULL && PyUnicode_GET_LENGTH(*slot) == size
        && memcmp(PyUnicode_1BYTE_DATA(*slot), name, (size_t)size) == 0)
        return Py_NewRef(*slot);
    PyObject *atom = new_atom(state, PyUnicode_DecodeLatin1(name, size, NULL));
    if (atom != NULL) {
        PyObject *old = *slot;
        *slot = Py_NewRef(atom);
        Py_XDECREF(old);
    }
    return atom;
}

static PyObject *
read_atom(Reader *reader)
{
    const unsigned char *data = reader->data + reader->at;
    int tag = data[0];
    Py_ssize_t header = tag == TAG_SMALL_ATOM_UTF8 || tag == TAG_SMALL_ATOM ? 2 : 3;
    if (!has(reader, (uint64_t)header))
        return NULL;
    Py_ssize_t size = header == 2 ? data[1] : (Py_ssize_t)u16_at(data + 1);
    if (!has(reader, (uint64_t)(header + size)))
        return NULL;
    reader->at += header + size;
    return find_atom(
        reader->state, (const char *)data + header, size, tag == TAG_SMALL_ATOM_UTF8 || tag == TAG_ATOM_UTF8);
}

/* Set a field of a record. Steals the value, which may be NULL. */
static int
set_field(State *state, PyObject *object, int field, PyObject *value)
{
    if (value == NULL)
        return -1;
    int result = Py_TYPE(state->fields[field])->tp_descr_set(state->fields[field], object, value);
    Py_DECREF(value);
    return result;
}

/* A pid or a reference of which only the node has been read and set. (To call the class would take ten times as long:
 * the __init__ of a record is Python.) */
static PyObject *
read_identity(Reader *reader, PyObject *type, int node_field)
{
    if (!has(reader, 1))
        return NULL;
    int tag = reader->data[reader->at];
    if (tag != TAG_SMALL_ATOM_UTF8 && tag != TAG_ATOM && tag != TAG_SMALL_ATOM && tag != TAG_ATOM_UTF8)
        return NULL;
    PyObject *node = read_atom(reader);
    if (node == NULL)
        return NULL;
    PyObject *identity = PyBool_Check(node) ? NULL : PyType_GenericAlloc((PyTypeObject *)type, 0);
    if (identity == NULL) {
        Py_DECREF(node);
        return NULL;
    }
    if (set_field(reader->state, identity, node_field, node) < 0)
        Py_CLEAR(identity);
    return identity;
}

static PyObject *
read_pid(Reader *reader)
{
    State *state = reader->state;
    reader->at += 1;
    PyObject *pid = read_identity(reader, state->imported[PID], PID_NODE);
    if (pid == NULL)
        return NULL;
    const unsigned char *words = reader->data + reader->at;
    if (!has(reader, 12)
        || set_field(state, pid, PID_ID, PyLong_FromUnsignedLong(u32_at(words))) < 0
        || set_field(state, pid, PID_SERIAL, PyLong_FromUnsignedLong(u32_at(words + 4))) < 0
        || set_field(state, pid, PID_CREATION, PyLong_FromUnsignedLong(u32_at(words + 8))) < 0) {
        Py_DECREF(pid);
        return NULL;
    }
    reader->at += 12;
    untrack(pid);
    return pid;
}

static PyObject *
read_words(const unsigned char *data, Py_ssize_t count)
{
    PyObject *words = PyTuple_New(count);
    for (Py_ssize_t index = 0; words != NULL && index < count; index++) {
        PyObject *word = PyLong_FromUnsignedLong(u32_at(data + 4 * index));
        if (word == NULL)
            Py_CLEAR(words);
        else
            PyTuple_SET_ITEM(words, index, word);
    }
    if (words != NULL)
        untrack(words);
    return words;
}

static PyObject *
read_reference(Reader *reader)
{
    State *state = reader->state;
    if (!has(reader, 3))
        return NULL;
    Py_ssize_t count = u16_at(reader->data + reader->at + 1);
    if (count < 1 || count > MAX_REFERENCE_WORDS)
        return NULL;
    reader->at += 3;
    PyObject *reference = read_identity(reader, state->imported[REFERENCE], REFERENCE_NODE);
    if (reference == NULL)
        return NULL;
    const unsigned char *data = reader->data + reader->at;
    if (!has(reader, (uint64_t)(4 + 4 * count))
        || set_field(state, reference, REFERENCE_CREATION, PyLong_FromUnsignedLong(u32_at(data))) < 0
        || set_field(state, reference, REFERENCE_IDS, read_words(data + 4, count)) < 0) {
        Py_DECREF(reference);
        return NULL;
    }
    reader->at += 4 + 4 * count;
    untrack(reference);
    return reference;
}

/* What a leaf function of the pure codec returned: the term and the offset behind it. Steals it; it may be NULL. */
static PyObject *
take_leaf(Reader *reader, PyObject *result)
{
    PyObject *term;
    Py_ssize_t at;
    if (result == NULL)
        return give_up();
    if (!PyArg_ParseTuple(result, "On", &term, &at))
        term = give_up();
    else if (at <= reader->at || at > reader->end)
        term = NULL;
    else
        reader->at = at;
    Py_XINCREF(term);
    Py_DECREF(result);
    return term;
}

/* Terms for which the pure codec has a function, by their tag: a leaf, or the header of a container. */
static PyObject *
read_by_table(Reader *reader)
{
    PyObject *leaves = etf_late(reader->state, LEAVES);
    PyObject *openers = leaves == NULL ? NULL : etf_late(reader->state, OPENERS);
    if (openers == NULL)
        return give_up();
    PyObject *tag = PyLong_FromLong(reader->data[reader->at]);
    if (tag == NULL)
        return NULL;
    PyObject *leaf = PyDict_GetItemWithError(leaves, tag);
    PyObject *opener = leaf == NULL ? PyDict_GetItemWithError(openers, tag) : NULL;
    Py_DECREF(tag);
    if (leaf != NULL)
        return take_leaf(reader, call_pure(reader, leaf));
    if (opener == NULL)
        return NULL;
    PyObject *opened = call_pure(reader, opener);
    PyObject *build, *term = NULL;
    Py_ssize_t count, at, first = reader->item_count;
    if (opened == NULL)
        return give_up();
    if (!PyArg_ParseTuple(opened, "nnO", &count, &at, &build)) {
        Py_DECREF(opened);
        return give_up();
    }
    if (at > reader->at && at <= reader->end) {
        reader->at = at;
        PyObject *items = NULL;
        if (has(reader, (uint64_t)count) && push_terms(reader, (uint64_t)count) == 0)
            items = pop_list(reader, first);
        if (items != NULL) {
            term = PyObject_CallFunction(build, "On", items, reader->at);
            Py_DECREF(items);
            if (term == NULL)
                give_up();
        }
    }
    Py_DECREF(opened);
    return term;
}

static PyObject *
read_big(Reader *reader)
{
    const unsigned char *data = reader->data + reader->at;
    if (!has(reader, 3) || !has(reader, (uint64_t)3 + data[1]))
        return NULL;
    Py_ssize_t size = data[1];
    if (size > 8) {
        PyObject *pure = etf_late(reader->state, SMALL_INTEGER);
        return pure == NULL ? give_up() : take_leaf(reader, call_pure(reader, pure));
    }
    unsigned long long magnitude = 0;
    for (Py_ssize_t index = size; index > 0; index--)
        magnitude = magnitude << 8 | data[2 + index];
    reader->at += 3 + size;
    PyObject *integer = PyLong_FromUnsignedLongLong(magnitude);
    if (integer == NULL || data[2] == 0)
        return integer;
    PyObject *negative = PyNumber_Negative(integer);
    Py_DECREF(integer);
    return negative;
}

static PyObject *
read_tuple(Reader *reader)
{
    if (!has(reader, 2))
        return NULL;
    Py_ssize_t size = reader->data[reader->at + 1];
    reader->at += 2;
    if (!has(reader, (uint64_t)size))
        return NULL;
    PyObject *tuple = PyTuple_New(size); /* of 255 items at most, so its size may be trusted */
    if (tuple == NULL || size == 0)
        return tuple;
    for (Py_ssize_t index = 0; index < size; index++) {
        PyObject *item = read_term(reader);
        if (item == NULL) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, index, item);
    }
    untrack_tuple(reader->state, tuple);
    return tuple;
}

/* Push the elements of STRING_EXT. */
static int
push_string(Reader *reader)
{
    const unsigned char *data = reader->data + reader->at;
    if (!has(reader, 3) || !has(reader, (uint64_t)3 + u16_at(data + 1)))
        return -1;
    Py_ssize_t size = u16_at(data + 1);
    for (Py_ssize_t index = 0; index < size; index++)
        if (push(reader, PyLong_FromLong(data[3 + index])) < 0)
            return -1;
    reader->at += 3 + size;
    return 0;
}

/* LIST_EXT. The tail may be a list again, and so on. */
static PyObject *
read_list(Reader *reader)
{
    Py_ssize_t first = reader->item_count;
    for (;;) {
        if (!has(reader, 5))
            return NULL;
        uint64_t size = u32_at(reader->data + reader->at + 1);
        reader->at += 5;
        if (!has(reader, size + 1) || push_terms(reader, size) < 0 || !has(reader, 1))
            return NULL;
        int tag = reader->data[reader->at];
        if (tag == TAG_NIL) {
            reader->at += 1;
            return pop_list(reader, first);
        }
        if (tag == TAG_STRING)
            return push_string(reader) < 0 ? NULL : pop_list(reader, first);
        if (tag != TAG_LIST)
            break;
    }
    if (reader->item_count == first) /* no list at all, only its tail */
        return NULL;
    PyObject *tail = read_term(reader);
    if (tail == NULL)
        return NULL;
    PyObject *elements = pop_tuple(reader, first), *improper = NULL;
    if (elements != NULL) {
        improper = PyObject_CallFunctionObjArgs(reader->state->imported[IMPROPER_LIST], elements, tail, NULL);
        Py_DECREF(elements);
    }
    Py_DECREF(tail);
    return improper != NULL ? improper : give_up();
}

/* A dict of the items from the first one on, keys and values in turn; NULL without an exception when they do not fit
 * into one. */
static PyObject *
make_dict(Reader *reader, Py_ssize_t first)
{
    PyObject *dict = PyDict_New();
    if (dict == NULL)
        return NULL;
    for (Py_ssize_t index = first; index < reader->item_count; index += 2)
        if (PyDict_SetItem(dict, reader->items[index], reader->items[index + 1]) < 0) {
            Py_DECREF(dict);
            if (PyErr_ExceptionMatches(PyExc_TypeError) || PyErr_ExceptionMatches(PyExc_RecursionError))
                PyErr_Clear(); /* the key cannot be hashed */
            return NULL;
        }
    if (PyDict_GET_SIZE(dict) != (reader->item_count - first) / 2)
        Py_CLEAR(dict); /* keys that a dict takes for one */
    return dict;
}

static PyObject *
read_map(Reader *reader)
{
    if (!has(reader, 5))
        return NULL;
    uint64_t count = 2 * (uint64_t)u32_at(reader->data + reader->at + 1);
    Py_ssize_t first = reader->item_count;
    reader->at += 5;
    if (!has(reader, count) || push_terms(reader, count) < 0)
        return NULL;
    PyObject *map = make_dict(reader, first);
    if (map == NULL && !PyErr_Occurred()) {
        Py_ssize_t size = (reader->item_count - first) / 2;
        PyObject *keys = PyList_New(size), *values = PyList_New(size);
        if (keys != NULL && values != NULL) {
            for (Py_ssize_t index = 0; index < size; index++) {
                PyList_SET_ITEM(keys, index, Py_NewRef(reader->items[first + 2 * index]));
                PyList_SET_ITEM(values, index, Py_NewRef(reader->items[first + 2 * index + 1]));
            }
            map = PyObject_CallFunctionObjArgs(reader->state->imported[MAKE_MAP], keys, values, NULL);
            if (map == NULL)
                give_up();
        }
        Py_XDECREF(keys);
        Py_XDECREF(values);
    }
    if (map != NULL)
        drop_items(reader, first);
    return map;
}

static PyObject *
read_term(Reader *reader)
{
    if (!has(reader, 1))
        return NULL;
    const unsigned char *data = reader->data + reader->at;
    switch (data[0]) {
    case TAG_BINARY: {
        if (!has(reader, 5) || !has(reader, (uint64_t)5 + u32_at(data + 1)))
            return NULL;
        Py_ssize_t size = (Py_ssize_t)u32_at(data + 1);
        reader->at += 5 + size;
        return PyBytes_FromStringAndSize((const char *)data + 5, size);
    }
    case TAG_SMALL_ATOM_UTF8:
    case TAG_ATOM:
    case TAG_SMALL_ATOM:
    case TAG_ATOM_UTF8:
        return read_atom(reader);
    case TAG_SMALL_INTEGER:
        if (!has(reader, 2))
            return NULL;
        reader->at += 2;
        return PyLong_FromLong(data[1]);
    case TAG_INTEGER:
        if (!has(reader, 5))
            return NULL;
        reader->at += 5;
        return PyLong_FromLong((int32_t)u32_at(data + 1));
    case TAG_SMALL_BIG:
        return read_big(reader);
    case TAG_NIL:
        reader->at += 1;
        return PyList_New(0);
    case TAG_NEW_FLOAT: {
        if (!has(reader, 9))
            return NULL;
        double number = PyFloat_Unpack8((const char *)data + 1, 0);
        if (!isfinite(number))
            return NULL;
        reader->at += 9;
        return PyFloat_FromDouble(number);
    }
    case TAG_STRING: {
        Py_ssize_t first = reader->item_count;
        return push_string(reader) < 0 ? NULL : pop_list(reader, first);
    }
    case TAG_NEW_PID:
        return read_pid(reader);
    case TAG_NEWER_REFERENCE:
        return read_reference(reader);
    }
    if (reader->depth == MAX_DEPTH)
        return NULL;
    reader->depth++;
    PyObject *term;
    switch (data[0]) {
    case TAG_SMALL_TUPLE:
        term = read_tuple(reader);
        break;
    case TAG_LIST:
        term = read_list(reader);
        break;
    case TAG_MAP:
        term = read_map(reader);
        break;
    default:
        term = read_by_table(reader);
    }
    reader->depth--;
    return term;
}

static PyObject *
read_all(Reader *reader, Py_ssize_t *at)
{
    reader->at = *at;
    reader->turn_ends_at = *at + TURN;
    PyObject *term = read_term(reader);
    drop_items(reader, 0);
    PyMem_Free(reader->items);
    Py_XDECREF(reader->source);
    *at = reader->at;
    return term;
}

PyObject *
etf_read(State *state, const char *data, Py_ssize_t size, PyObject *source, Py_ssize_t *at)
{
    Reader reader = {
        .state = state, .source = Py_XNewRef(source), .data = (const unsigned char *)data, .end = size
    };
    return read_all(&reader, at);
}

PyObject *
etf_read_coming(
    State *state, const char *data, Py_ssize_t room, Py_ssize_t filled, PyObject *more, Py_ssize_t *at)
{
    Reader reader = {
        .state = state, .data = (const unsigned char *)data, .end = filled, .room = room, .more = more
    };
    return read_all(&reader, at);
}
