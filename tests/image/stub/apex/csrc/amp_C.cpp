#include <Python.h>

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "amp_C", nullptr, -1, nullptr};

PyMODINIT_FUNC PyInit_amp_C() { return PyModule_Create(&definition); }
