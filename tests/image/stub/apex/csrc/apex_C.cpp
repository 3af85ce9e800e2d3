#include <Python.h>

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "apex_C", nullptr, -1, nullptr};

PyMODINIT_FUNC PyInit_apex_C() { return PyModule_Create(&definition); }
