/* Memory for small objects in large pages, while a large term is decoded.
 *
 * Python takes memory for its small objects from the system in arenas of 1 MiB, which the kernel hands out in pages of
 * 4 KiB, one by one: for a large term that takes as long as all else that the decoding does. So arenas come from regions
 * that the kernel fills with pages of 2 MiB meanwhile. What Python does with them, and when it gives them back, stays as
 * it is.
 *
 * It is optional, like the compiled codec, and does nothing where there are no such pages.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if defined(__linux__)
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#endif

#if defined(MADV_HUGEPAGE)

#define ARENA ((uintptr_t)1 << 20)
#define PAGE ((uintptr_t)2 << 20)
#define ARENAS 32 /* of a region: as many as a word has bits */
#define REGION (ARENAS * ARENA)
/* With so many in use, arenas come from elsewhere: that is 8 GiB of objects. */
#define REGIONS 256

/* Two arenas share a page, which goes back when Python has given back both of them. */
typedef struct {
    uintptr_t start;
    uint32_t taken; /* a bit for each arena that Python has */
} Region;

static Region regions[REGIONS];
/* The one that arenas are taken from, if there is one, and the first that was not. */
static Region *current;
static unsigned next;
static int wanted, installed;
/* What gives arenas otherwise, and takes them back. */
static PyObjectArenaAllocator other;
/* Interpreters may have locks of their own. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Give a page back, if Python has none of its two arenas, and can get none from it any more. */
static void
give_back(Region *region, unsigned arena)
{
    unsigned first = arena & ~1u;
    if ((region->taken >> first & 3) == 0 && !(region == current && first + 1 >= next))
        munmap((void *)(region->start + first * ARENA), PAGE);
}

/* Give back what Python has not taken of the current region. */
static void
close_region(void)
{
    Region *region = current;
    unsigned unused = (next + 1) & ~1u;
    if (region == NULL)
        return;
    current = NULL;
    if (unused < ARENAS)
        munmap((void *)(region->start + unused * ARENA), (ARENAS - unused) * ARENA);
    if (unused > next)
        give_back(region, next);
}

static void
open_region(void)
{
    Region *region = NULL;
    for (unsigned index = 0; index < REGIONS && region == NULL; index++)
        if (regions[index].taken == 0)
            region = &regions[index];
    if (region == NULL)
        return;
    void *memory = mmap(NULL, REGION + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return;
    uintptr_t start = (uintptr_t)memory, aligned = (start + PAGE - 1) & ~(PAGE - 1);
    if (aligned > start)
        munmap(memory, aligned - start);
    if (start + PAGE > aligned)
        munmap((void *)(aligned + REGION), start + PAGE - aligned);
    madvise((void *)aligned, REGION, MADV_HUGEPAGE); /* without them it is memory like any other */
    region->start = aligned;
    current = region;
    next = 0;
}

static void *
allocate(void *Py_UNUSED(context), size_t size)
{
    void *arena = NULL;
    pthread_mutex_lock(&lock);
    if (wanted && size == ARENA) {
        if (current == NULL || next == ARENAS) {
            close_region();
            open_region();
        }
        if (current != NULL) {
            arena = (void *)(current->start + next * ARENA);
            current->taken |= (uint32_t)1 << next++;
        }
    }
    pthread_mutex_unlock(&lock);
    return arena != NULL ? arena : other.alloc(other.ctx, size);
}

static void
release(void *Py_UNUSED(context), void *arena, size_t size)
{
    int is_ours = 0;
    pthread_mutex_lock(&lock);
    for (unsigned index = 0; index < REGIONS && !is_ours; index++) {
        uintptr_t offset = (uintptr_t)arena - regions[index].start;
        uint32_t bit = offset < REGION ? (uint32_t)1 << offset / ARENA : 0;
        if ((regions[index].taken & bit) != 0) {
            regions[index].taken &= ~bit;
            is_ours = 1;
            give_back(&regions[index], (unsigned)(offset / ARENA));
        }
    }
    pthread_mutex_unlock(&lock);
    if (!is_ours)
        other.free(other.ctx, arena, size);
}

static void
want(int whether)
{
    if (whether && !installed) {
        installed = 1;
        PyObject_GetArenaAllocator(&other);
        PyObject_SetArenaAllocator(&(PyObjectArenaAllocator){.alloc = allocate, .free = release});
    }
    pthread_mutex_lock(&lock);
    wanted = whether;
    if (!whether)
        close_region();
    pthread_mutex_unlock(&lock);
}

#else

static void
want(int Py_UNUSED(whether))
{
}

#endif

PyDoc_STRVAR(begin_doc, "begin($module, /)\n--\n\nFrom now on, take arenas from large pages.");

static PyObject *
begin(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing))
{
    want(1);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(end_doc, "end($module, /)\n--\n\nTake them from where they come from otherwise.");

static PyObject *
end(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing))
{
    want(0);
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"begin", begin, METH_NOARGS, begin_doc},
    {"end", end, METH_NOARGS, end_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_large_pages",
    .m_methods = METHODS,
};

PyMODINIT_FUNC
PyInit__large_pages(void)
{
    return PyModuleDef_Init(&MODULE);
}
