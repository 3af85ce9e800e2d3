#include <Python.h>

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "fused_weight_gradient_mlp_cuda", nullptr, -1, nullptr};

PyMODINIT_FUNC PyInit_fused_weight_gradient_mlp_cuda() { return PyModule_Create(&definition); }
