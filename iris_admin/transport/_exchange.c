/* The usual call: a request goes out, and some microseconds later it is answered by what the function returned.
 *
 * It does at once what Connection.call, the sending, the receiving and Connection.receive_data do in Python, for a call that
 * no other is in the way of. Whatever comes that is not the usual answer to it is left to them. As the compiled codec, it is
 * optional. What a request and its answer consist of it is told by iris_admin.proto.usual, so all that there is to know
 * about the protocol here is how a pid and a reference of ours end.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* Python ignores the signal anyway */
#endif

/* Room for an answer; a longer one is received elsewhere. */
#define ROOM 4096
#define LENGTH 4
/* The end of a pid, which tells the processes of a node apart. */
#define PROCESS 12
#define REFERENCE 16

/* What iris_admin.proto.usual.Usual.pieces consists of. */
enum {
    REQUEST_HEAD, REQUEST_TAIL, REQUEST_END, REFERENCE_HEAD, PID_HEAD, REPLY_HEAD, REPLY_TAIL, EXIT_HEAD, RETURNED,
    RETURNED_TAIL, PIECES
};

typedef struct {
    const char *data;
    Py_ssize_t size;
} Piece;

static void
put_word(unsigned char *at, uint32_t word)
{
    at[0] = (unsigned char)(word >> 24);
    at[1] = (unsigned char)(word >> 16);
    at[2] = (unsigned char)(word >> 8);
    at[3] = (unsigned char)word;
}

static uint32_t
word_at(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static unsigned char *
put(unsigned char *at, Piece piece)
{
    memcpy(at, piece.data, (size_t)piece.size);
    return at + piece.size;
}

/* Whether these bytes are next; then they are passed. */
static int
is_next(const unsigned char **at, const unsigned char *end, Piece piece)
{
    if (end - *at < piece.size || memcmp(*at, piece.data, (size_t)piece.size) != 0)
        return 0;
    *at += piece.size;
    return 1;
}

/* Whether both frames have come that answer a call. */
static int
is_complete(const unsigned char *data, Py_ssize_t size)
{
    uint64_t end = 0;
    for (int frame = 0; frame < 2; frame++) {
        if ((uint64_t)size < end + LENGTH)
            return 0;
        end += LENGTH + (uint64_t)word_at(data + end);
    }
    return (uint64_t)size >= end;
}

/* Where the value begins in the usual answer to a call, and NULL if the data is anything else. */
static const unsigned char *
find_value(const unsigned char *data, Py_ssize_t size, const Piece *pieces, Piece reference, Piece pid)
{
    const unsigned char *at = data, *end = data + size;
    if (!(is_next(&at, end, pieces[REPLY_HEAD]) && is_next(&at, end, reference) && is_next(&at, end, pid)
          && is_next(&at, end, pieces[REPLY_TAIL]) && end - at > PROCESS + LENGTH))
        return NULL;
    Piece process = {(const char *)at, PROCESS};
    at += PROCESS;
    if (word_at(at) != (uint64_t)(end - at - LENGTH))
        return NULL;
    at += LENGTH;
    if (is_next(&at, end, pieces[EXIT_HEAD]) && is_next(&at, end, process) && is_next(&at, end, pid)
        && is_next(&at, end, pieces[RETURNED]) && is_next(&at, end, reference) && is_next(&at, end, pieces[RETURNED_TAIL])
        && at < end)
        return at;
    return NULL;
}

PyDoc_STRVAR(
    exchange_doc,
    "exchange($module, descriptor, pieces, creation, number, names, args, looks, /)\n--\n\n"
    "Make a call on a socket that does not block, and look for its answer for a while.\n\n"
    ":param pieces: those of iris_admin.proto.usual.Usual.\n"
    ":param creation: ours.\n"
    ":param number: of the call.\n"
    ":param names: module and function, encoded.\n"
    ":param args: the argument list, encoded.\n"
    ":param looks: how often to look in vain.\n"
    ":returns: what the function returned, encoded; or, if anything else came, or nothing, a tuple of the request, how\n"
    "    much of it was sent, what has come, and the number of the error that receiving met, or 0.");

static PyObject *
exchange(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    unsigned char received[ROOM];
    Piece pieces[PIECES];
    if (count != 7 || !PyTuple_CheckExact(args[1]) || PyTuple_GET_SIZE(args[1]) != PIECES
        || !PyBytes_CheckExact(args[4]) || !PyBytes_CheckExact(args[5])) {
        PyErr_SetString(PyExc_TypeError, "exchange() is called in another way");
        return NULL;
    }
    for (int index = 0; index < PIECES; index++) {
        PyObject *piece = PyTuple_GET_ITEM(args[1], index);
        if (!PyBytes_CheckExact(piece)) {
            PyErr_SetString(PyExc_TypeError, "a piece is not bytes");
            return NULL;
        }
        pieces[index] = (Piece){PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece)};
    }
    Piece names = {PyBytes_AS_STRING(args[4]), PyBytes_GET_SIZE(args[4])};
    Piece arguments = {PyBytes_AS_STRING(args[5]), PyBytes_GET_SIZE(args[5])};
    long descriptor = PyLong_AsLong(args[0]), looks = PyLong_AsLong(args[6]);
    unsigned long creation = PyLong_AsUnsignedLong(args[2]);
    unsigned long long number = PyLong_AsUnsignedLongLong(args[3]);
    if (PyErr_Occurred())
        return NULL;

    Piece reference = {NULL, pieces[REFERENCE_HEAD].size + REFERENCE}, pid = {NULL, pieces[PID_HEAD].size + PROCESS};
    Py_ssize_t length = pieces[REQUEST_HEAD].size + 2 * reference.size + 2 * pid.size + pieces[REQUEST_TAIL].size
                        + names.size + arguments.size + pieces[REQUEST_END].size;
    PyObject *request = PyBytes_FromStringAndSize(NULL, LENGTH + length);
    if (request == NULL)
        return NULL;
    unsigned char *at = (unsigned char *)PyBytes_AS_STRING(request);
    put_word(at, (uint32_t)length);
    at = put(at + LENGTH, pieces[REQUEST_HEAD]);
    reference.data = (const char *)at;
    at = put(at, pieces[REFERENCE_HEAD]);
    put_word(at, (uint32_t)creation);
    put_word(at + 4, (uint32_t)(number & 0x3FFFF));
    put_word(at + 8, (uint32_t)(number >> 18));
    put_word(at + 12, 0);
    at += REFERENCE;
    pid.data = (const char *)at;
    at = put(at, pieces[PID_HEAD]);
    put_word(at, (uint32_t)(number & 0xFFFFFFF));
    put_word(at + 4, (uint32_t)(number >> 28));
    put_word(at + 8, (uint32_t)creation);
    at = put(at + PROCESS, pid);
    at = put(at, pieces[REQUEST_TAIL]);
    at = put(at, reference);
    at = put(at, names);
    at = put(at, arguments);
    put(at, pieces[REQUEST_END]);

    Py_ssize_t sent, size = 0;
    int error = 0;
    const unsigned char *value = NULL;
    Py_BEGIN_ALLOW_THREADS
    sent = send((int)descriptor, PyBytes_AS_STRING(request), (size_t)(LENGTH + length), MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent == LENGTH + length && looks > 0 && size < ROOM && !is_complete(received, size)) {
        Py_ssize_t more = recv((int)descriptor, received + size, (size_t)(ROOM - size), MSG_DONTWAIT);
        if (more > 0)
            size += more;
        else if (more < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            looks--;
        else {
            error = more < 0 ? errno : 0;
            break; /* the end is met again by whoever receives next, an error is not */
        }
    }
    value = find_value(received, size, pieces, reference, pid);
    Py_END_ALLOW_THREADS
    if (value != NULL) {
        Py_DECREF(request);
        return PyBytes_FromStringAndSize((const char *)value, received + size - value);
    }
    return Py_BuildValue("Nny#i", request, sent < 0 ? (Py_ssize_t)0 : sent, (const char *)received, size, error);
}

static PyMethodDef METHODS[] = {
    {"exchange", (PyCFunction)(void (*)(void))exchange, METH_FASTCALL, exchange_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_exchange",
    .m_methods = METHODS,
};

PyMODINIT_FUNC
PyInit__exchange(void)
{
    return PyModuleDef_Init(&MODULE);
}
