#include "state.h"
#include <cstdlib>

namespace driver
{
namespace
{
long long number(const char* variable, long long otherwise)
{
    const char* text = getenv(variable);
    return text && *text ? atoll(text) : otherwise;
}
}

// A process that is not asked by its tests (a server under test) takes its settings from the environment.
State::State()
{
    totalBytes = initialBytes = uint64_t(number("CUDA_STANDIN_MEMORY", int64_t(initialBytes)));
    schedule = fibers::Schedule(number("CUDA_STANDIN_SCHEDULE", 0));
    order = Order(number("CUDA_STANDIN_ORDER", 0));
    architecture = int(number("CUDA_STANDIN_ARCHITECTURE", architecture));
}

State& state()
{
    static State* one = new State;      // never destroyed: threads may still call while the process ends
    return *one;
}

int64_t& current_context()
{
    static thread_local int64_t current;
    return current;
}

int entered()
{
    State& s = state();
    if (!s.initialized)
    {
        return failed(NotInitialized, "cuInit has not been called");
    }

    if (s.sticky)
    {
        return s.sticky;
    }

    if (current_context() == 0)
    {
        return failed(InvalidContext, "this thread has no current context (cuCtxSetCurrent)");
    }

    return current_context() == s.context ? Success : failed(ContextIsDestroyed, "the context that this thread has is gone; another needs cuCtxSetCurrent again");
}

int injected(Call call)
{
    Injection& injection = state().injections[int(call)];
    if (injection.callsLeft == 0 || --injection.callsLeft > 0)
    {
        return Success;
    }

    return failed(injection.code, "injected by the test");
}

int failed(int code, const std::string& detail)
{
    State& s = state();
    if (!s.sticky)
    {
        s.detail = detail;
        s.sticky = is_sticky(code) ? code : Success;
    }

    return code;
}

const char* name_of(int code)
{
    switch (code)
    {
        case Success: return "CUDA_SUCCESS";
        case InvalidValue: return "CUDA_ERROR_INVALID_VALUE";
        case OutOfMemory: return "CUDA_ERROR_OUT_OF_MEMORY";
        case NotInitialized: return "CUDA_ERROR_NOT_INITIALIZED";
        case InvalidImage: return "CUDA_ERROR_INVALID_IMAGE";
        case InvalidContext: return "CUDA_ERROR_INVALID_CONTEXT";
        case NoBinaryForGpu: return "CUDA_ERROR_NO_BINARY_FOR_GPU";
        case InvalidPtx: return "CUDA_ERROR_INVALID_PTX";
        case InvalidHandle: return "CUDA_ERROR_INVALID_HANDLE";
        case NotFound: return "CUDA_ERROR_NOT_FOUND";
        case NotReady: return "CUDA_ERROR_NOT_READY";
        case ContextIsDestroyed: return "CUDA_ERROR_CONTEXT_IS_DESTROYED";
        case IllegalAddress: return "CUDA_ERROR_ILLEGAL_ADDRESS";
        case LaunchOutOfResources: return "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES";
        case LaunchTimeout: return "CUDA_ERROR_LAUNCH_TIMEOUT";
        case AssertFailed: return "CUDA_ERROR_ASSERT";
        case LaunchFailed: return "CUDA_ERROR_LAUNCH_FAILED";
        case CaptureUnsupported: return "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
        case CaptureInvalidated: return "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED";
        case CaptureUnjoined: return "CUDA_ERROR_STREAM_CAPTURE_UNJOINED";
        case CaptureIsolation: return "CUDA_ERROR_STREAM_CAPTURE_ISOLATION";
        case CaptureWrongThread: return "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD";
        default: return "CUDA_ERROR_UNKNOWN";
    }
}
}
