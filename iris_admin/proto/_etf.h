/* The fast twin of the external term format codec, behind iris_admin.proto.etf: what its three files share.
 *
 * It knows the terms that replies are full of. Whatever else it meets, any mistake included, makes it give up: then
 * the pure codec (_etf_decode.py, _etf_encode.py) does the whole of it again, and its term or its error is the answer.
 * So the format is described once, in Python, together with everything that can be wrong with it; what has to be kept
 * in step is small: a term that is read or written here must be what the pure codec would have made of it.
 * tests/proto/test_etf_twin.py compares the two.
 *
 * For whoever changes these files:
 * - A function that returns NULL (or -1) has either set a Python exception, and the caller gets it (no memory,
 *   Ctrl-C), or has set none, and has given up.
 * - What a function returns is a new reference, what it is given is borrowed; the comment says so where it is not.
 * - Whatever is read from the data is held against what is left of it (has()) before it is used.
 * - Nothing here depends on how CPython lays its objects out, only on its documented functions and macros.
 */
#ifndef IRIS_ADMIN_ETF_H
#define IRIS_ADMIN_ETF_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

/* What is nested deeper is left to the pure codec, which does not recurse, and which from this depth on does not hash
 * the keys of maps (_MAX_KEY_DEPTH). */
#define MAX_DEPTH 200

#define MAX_REFERENCE_WORDS 5

/* How many atoms are remembered; a power of two. */
#define ATOM_SLOTS 4096

enum {
    TAG_NEW_FLOAT = 70, TAG_NEW_PID = 88, TAG_NEWER_REFERENCE = 90, TAG_SMALL_INTEGER = 97,
    TAG_INTEGER = 98, TAG_ATOM = 100, TAG_SMALL_TUPLE = 104, TAG_LARGE_TUPLE = 105, TAG_NIL = 106, TAG_STRING = 107,
    TAG_LIST = 108, TAG_BINARY = 109, TAG_SMALL_BIG = 110, TAG_SMALL_ATOM = 115, TAG_MAP = 116, TAG_ATOM_UTF8 = 118,
    TAG_SMALL_ATOM_UTF8 = 119, VERSION = 131
};

/* What is imported once: the terms when this module is; all from TAKE_TURNS on when it is needed first, for most commands
 * never need it. */
enum {
    ATOM, PID, PORT, REFERENCE, EXPORT, IMPROPER_LIST, BIT_STRING, MAKE_MAP, TAKE_TURNS,
    DECODE, DECODE_TERM, SMALL_INTEGER, LEAVES, OPENERS,
    ENCODE, ENCODE_TERM, ENCODE_LEAF,
    IMPORTS
};

/* The fields of pids and references, as the descriptors that the classes have for them. */
enum { PID_NODE, PID_ID, PID_SERIAL, PID_CREATION, REFERENCE_NODE, REFERENCE_CREATION, REFERENCE_IDS, FIELDS };

typedef struct {
    PyObject *imported[IMPORTS];
    PyObject *fields[FIELDS];
    PyObject *atoms[ATOM_SLOTS]; /* by a hash of the name; a new one takes the place of an old one */
} State;

/* One of those that are imported when they are needed, borrowed. */
PyObject *etf_late(State *state, int index);

/* Give up over an exception of the pure codec, which will raise it again. One that is not about the term stays. */
static inline PyObject *
give_up(void)
{
    if (PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError))
        PyErr_Clear();
    return NULL;
}

/* Read the term at an offset, which is moved behind it. The source is the bytes that data and size are of, or NULL. */
PyObject *etf_read(State *state, const char *data, Py_ssize_t size, PyObject *source, Py_ssize_t *at);

/* The same of a term that is still coming: data has room for so much, and so much of that is filled. More is filled when a
 * function is called, as iris_admin.proto.etf.decode_coming explains. */
PyObject *etf_read_coming(
    State *state, const char *data, Py_ssize_t room, Py_ssize_t filled, PyObject *more, Py_ssize_t *at);

/* The encoding of a term, as bytes, behind the version byte or without. */
PyObject *etf_write(State *state, PyObject *term, int with_version);

#endif
