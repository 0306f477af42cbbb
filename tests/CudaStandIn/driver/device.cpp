// The device and its context. It says it is an H100-like one with eight multiprocessors.
#include <cstdio>
#include "state.h"

using namespace driver;

namespace
{
int s_context;      // its address is the context
int s_retained;

// CUdevice_attribute; one that is not listed is refused, so that a value nobody thought about is not taken for the device's.
int attribute(int which)
{
    switch (which)
    {
        case 1: return 1024;                        // threads of a block
        case 2: case 3: return 1024;                // block x, y
        case 4: return 64;                          // block z
        case 5: return 2147483647;                  // grid x
        case 6: case 7: return 65535;               // grid y, z
        case 8: return 48 * 1024;                   // shared memory of a block
        case 10: return 32;                         // lanes of a warp
        case 12: return 65536;                      // registers of a block
        case 13: return 1755000;                    // clock, kHz
        case 16: return 8;                          // multiprocessors
        case 31: case 32: return 1;                 // concurrent kernels; ECC
        case 36: return 2619000;                    // memory clock, kHz
        case 37: return 5120;                       // memory bus, bits
        case 38: return 50 << 20;                   // second-level cache
        case 39: return 2048;                       // threads of a multiprocessor
        case 40: return 3;                          // copy engines
        case 41: return 1;                          // unified addresses
        case 75: return state().architecture / 10;
        case 76: return state().architecture % 10;
        case 81: return 233472;                     // shared memory of a multiprocessor
        case 82: return 65536;                      // registers of a multiprocessor
        case 97: return 232448;                     // shared memory of a block that asks for it
        case 106: return 32;                        // blocks of a multiprocessor
        case 111: return 1024;                      // shared memory the driver keeps of a block
        case 115: return 1;                         // memory pools
        default: return -1;
    }
}
}

API int cuInit(unsigned flags)
{
    std::lock_guard lock(state().gate);
    state().initialized = true;
    return flags == 0 ? Success : InvalidValue;
}

API int cuDriverGetVersion(int* version)
{
    *version = 12080;
    return Success;
}

API int cuDeviceGetCount(int* count)
{
    *count = 1;
    return Success;
}

API int cuDeviceGet(int* device, int ordinal)
{
    *device = ordinal;
    return ordinal == 0 ? Success : 101;
}

API int cuDeviceGetName(char* name, int bytes, int)
{
    snprintf(name, size_t(bytes), "CPU stand-in");
    return Success;
}

API int cuDeviceGetUuid(char* uuid, int)
{
    snprintf(uuid, 16, "stand-in device");
    return Success;
}

API int cuDeviceTotalMem_v2(size_t* bytes, int)
{
    *bytes = state().totalBytes;
    return Success;
}

API int cuDeviceGetAttribute(int* value, int which, int)
{
    *value = attribute(which);
    return *value < 0 ? failed(InvalidValue, "the stand-in has no value for device attribute " + std::to_string(which)) : Success;
}

API int cuDevicePrimaryCtxRetain(void** context, int)
{
    std::lock_guard lock(state().gate);
    s_retained++;
    *context = &s_context;
    return state().initialized ? Success : NotInitialized;
}

API int cuDevicePrimaryCtxRelease_v2(int)
{
    std::lock_guard lock(state().gate);
    state().context += --s_retained == 0;
    return s_retained >= 0 ? Success : InvalidContext;
}

API int cuCtxSetCurrent(void* context)
{
    std::lock_guard lock(state().gate);
    current_context() = context == &s_context ? state().context : 0;
    return context == nullptr || context == &s_context ? Success : InvalidContext;
}

API int cuCtxGetCurrent(void** context)
{
    *context = current_context() ? &s_context : nullptr;
    return Success;
}

API int cuGetErrorName(int code, const char** text)
{
    *text = name_of(code);
    return Success;
}

// More than the driver's: what the stand-in saw.
API int cuGetErrorString(int code, const char** text)
{
    static thread_local std::string kept;
    std::lock_guard lock(state().gate);
    kept = code == Success || state().detail.empty() ? name_of(code) : state().detail;
    *text = kept.c_str();
    return Success;
}
