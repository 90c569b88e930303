/* The module iris_admin.proto._etf: see _etf.h. */
#include "_etf.h"

/* Where it is imported from. */
static const struct {
    const char *module, *name;
} IMPORTED[IMPORTS] = {
    [ATOM] = {"iris_admin.terms", "Atom"},
    [PID] = {"iris_admin.terms", "Pid"},
    [PORT] = {"iris_admin.terms", "Port"},
    [REFERENCE] = {"iris_admin.terms", "Reference"},
    [EXPORT] = {"iris_admin.terms", "Export"},
    [IMPROPER_LIST] = {"iris_admin.terms", "ImproperList"},
    [BIT_STRING] = {"iris_admin.terms", "BitString"},
    [MAKE_MAP] = {"iris_admin.terms", "make_map"},
    [TAKE_TURNS] = {"iris_admin.large_term", "take_turns"},
    [DECODE] = {"iris_admin.proto._etf_decode", "decode"},
    [DECODE_TERM] = {"iris_admin.proto._etf_decode", "decode_term"},
    [SMALL_INTEGER] = {"iris_admin.proto._etf_decode", "_small_integer"},
    [LEAVES] = {"iris_admin.proto._etf_decode", "_LEAVES"},
    [OPENERS] = {"iris_admin.proto._etf_decode", "_OPENERS"},
    [ENCODE] = {"iris_admin.proto._etf_encode", "encode"},
    [ENCODE_TERM] = {"iris_admin.proto._etf_encode", "encode_term"},
    [ENCODE_LEAF] = {"iris_admin.proto._etf_encode", "_leaf"},
};

static const struct {
    int class;
    const char *name;
} FIELD[FIELDS] = {
    [PID_NODE] = {PID, "node"},
    [PID_ID] = {PID, "id"},
    [PID_SERIAL] = {PID, "serial"},
    [PID_CREATION] = {PID, "creation"},
    [REFERENCE_NODE] = {REFERENCE, "node"},
    [REFERENCE_CREATION] = {REFERENCE, "creation"},
    [REFERENCE_IDS] = {REFERENCE, "ids"},
};

static PyObject *
import_one(int index)
{
    PyObject *home = PyImport_ImportModule(IMPORTED[index].module);
    PyObject *found = home == NULL ? NULL : PyObject_GetAttrString(home, IMPORTED[index].name);
    Py_XDECREF(home);
    return found;
}

PyObject *
etf_late(State *state, int index)
{
    if (state->imported[index] == NULL) {
        PyObject *found = import_one(index);
        /* Another thread may have been as quick. */
        if (state->imported[index] == NULL)
            state->imported[index] = found;
        else
            Py_XDECREF(found);
    }
    return state->imported[index];
}

static PyObject *
call_pure(State *state, int index, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *pure = etf_late(state, index);
    return pure == NULL ? NULL : PyObject_Vectorcall(pure, args, (size_t)nargs, kwnames);
}

PyDoc_STRVAR(decode_doc, "decode($module, data, /, *, max_size)\n--\n\nAs in iris_admin.proto._etf_decode.");

static PyObject *
decode(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    State *state = PyModule_GetState(module);
    PyObject *term = NULL;
    /* Only a compressed term has a use for max_size, and is none that is read here. */
    if (nargs == 1 && PyBytes_CheckExact(args[0]) && PyBytes_GET_SIZE(args[0]) > 1
        && (unsigned char)PyBytes_AS_STRING(args[0])[0] == VERSION) {
        Py_ssize_t at = 1;
        term = etf_read(state, PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0]), args[0], &at);
        if (term != NULL && at != PyBytes_GET_SIZE(args[0]))
            Py_CLEAR(term);
    }
    if (term != NULL || PyErr_Occurred())
        return term;
    return call_pure(state, DECODE, args, nargs, kwnames);
}

/* Read what a memoryview shows, if nobody can write through it: other threads run meanwhile. */
static PyObject *
read_view(State *state, PyObject *memory, Py_ssize_t *at)
{
    Py_buffer view;
    PyObject *term = NULL;
    if (PyObject_GetBuffer(memory, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return NULL;
    }
    if (view.readonly && *at >= 0 && *at < view.len)
        term = etf_read(state, view.buf, view.len, NULL, at);
    PyBuffer_Release(&view);
    return term;
}

PyDoc_STRVAR(decode_term_doc, "decode_term($module, data, offset, /)\n--\n\nAs in iris_admin.proto._etf_decode.");

static PyObject *
decode_term(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    State *state = PyModule_GetState(module);
    PyObject *term = NULL;
    Py_ssize_t at = -1;
    if (nargs == 2 && kwnames == NULL && PyLong_CheckExact(args[1])) {
        at = PyLong_AsSsize_t(args[1]);
        PyErr_Clear(); /* it does not even fit into the type */
        if (PyBytes_CheckExact(args[0])) {
            if (at >= 0 && at < PyBytes_GET_SIZE(args[0]))
                term = etf_read(state, PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0]), args[0], &at);
        }
        else if (PyMemoryView_Check(args[0]))
            term = read_view(state, args[0], &at);
    }
    if (term != NULL)
        return Py_BuildValue("Nn", term, at);
    if (PyErr_Occurred())
        return NULL;
    return call_pure(state, DECODE_TERM, args, nargs, kwnames);
}

PyDoc_STRVAR(
    decode_coming_doc, "decode_coming($module, room, offset, filled, more, /)\n--\n\nAs in iris_admin.proto.etf.");

static PyObject *
decode_coming(PyObject *module, PyObject *args)
{
    Py_buffer room;
    Py_ssize_t at, filled;
    PyObject *more, *term = NULL;
    if (!PyArg_ParseTuple(args, "y*nnO", &room, &at, &filled, &more))
        return NULL;
    if (0 <= at && at <= filled && filled <= room.len)
        term = etf_read_coming(PyModule_GetState(module), room.buf, room.len, filled, more, &at);
    PyBuffer_Release(&room);
    if (term != NULL)
        return Py_BuildValue("Nn", term, at);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* Encode the only argument, or let the pure codec do it. */
static PyObject *
encode_either(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int with_version)
{
    State *state = PyModule_GetState(module);
    PyObject *encoded = nargs == 1 && kwnames == NULL ? etf_write(state, args[0], with_version) : NULL;
    if (encoded != NULL || PyErr_Occurred())
        return encoded;
    return call_pure(state, with_version ? ENCODE : ENCODE_TERM, args, nargs, kwnames);
}

PyDoc_STRVAR(encode_doc, "encode($module, term, /)\n--\n\nAs in iris_admin.proto._etf_encode.");

static PyObject *
encode(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return encode_either(module, args, nargs, kwnames, 1);
}

PyDoc_STRVAR(encode_term_doc, "encode_term($module, term, /)\n--\n\nAs in iris_admin.proto._etf_encode.");

static PyObject *
encode_term(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return encode_either(module, args, nargs, kwnames, 0);
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    for (int index = 0; index < IMPORTS; index++)
        Py_VISIT(state->imported[index]);
    for (int index = 0; index < FIELDS; index++)
        Py_VISIT(state->fields[index]);
    return 0;
}

static int
clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    for (int index = 0; index < IMPORTS; index++)
        Py_CLEAR(state->imported[index]);
    for (int index = 0; index < FIELDS; index++)
        Py_CLEAR(state->fields[index]);
    for (int index = 0; index < ATOM_SLOTS; index++)
        Py_CLEAR(state->atoms[index]);
    return 0;
}

static void
free_state(void *module)
{
    (void)clear(module);
}

/* Without it, the codec in Python is used. */
static int
does_not_fit(const char *where, const char *name)
{
    PyErr_Format(PyExc_ImportError, "%s.%s is not what the compiled codec was built for", where, name);
    return -1;
}

static int
execute(PyObject *module)
{
    State *state = PyModule_GetState(module);
    for (int index = 0; index < TAKE_TURNS; index++) {
        state->imported[index] = import_one(index);
        if (state->imported[index] == NULL)
            return does_not_fit(IMPORTED[index].module, IMPORTED[index].name);
    }
    for (int index = 0; index < FIELDS; index++) {
        PyObject *field = PyObject_GetAttrString(state->imported[FIELD[index].class], FIELD[index].name);
        state->fields[index] = field;
        if (field == NULL || Py_TYPE(field)->tp_descr_get == NULL || Py_TYPE(field)->tp_descr_set == NULL)
            return does_not_fit(IMPORTED[FIELD[index].class].name, FIELD[index].name);
    }
    return 0;
}

static PyMethodDef methods[] = {
    {"decode", (PyCFunction)(void (*)(void))decode, METH_FASTCALL | METH_KEYWORDS, decode_doc},
    {"decode_term", (PyCFunction)(void (*)(void))decode_term, METH_FASTCALL | METH_KEYWORDS, decode_term_doc},
    {"decode_coming", decode_coming, METH_VARARGS, decode_coming_doc},
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL | METH_KEYWORDS, encode_doc},
    {"encode_term", (PyCFunction)(void (*)(void))encode_term, METH_FASTCALL | METH_KEYWORDS, encode_term_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "iris_admin.proto._etf",
    .m_doc = "The fast twin of the external term format codec.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = free_state,
};

PyMODINIT_FUNC
PyInit__etf(void)
{
    return PyModuleDef_Init(&definition);
}
