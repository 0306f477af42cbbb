// What a kernel source sees in place of the CUDA compiler's own declarations when it is compiled as host C++ (g++ -DCPU_SHIM).
// Read fibers/block.h for how the threads of a block run.
#pragma once
#include "keywords.h"
#include "vectors.h"
#include "threads.h"
#include "shared.h"
#include "warp.h"
#include "atomics.h"
#include "maths.h"
#include "async_copy.h"
#include "tensor_cores.h"
#include "registration.h"
