// CUresult, as far as the stand-in returns it.
#pragma once

namespace driver
{
enum Result : int
{
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    NotInitialized = 3,
    InvalidImage = 200,
    InvalidContext = 201,
    NoBinaryForGpu = 209,
    InvalidPtx = 218,
    InvalidHandle = 400,
    NotFound = 500,
    NotReady = 600,
    IllegalAddress = 700,
    LaunchOutOfResources = 701,
    LaunchTimeout = 702,
    ContextIsDestroyed = 709,
    AssertFailed = 710,
    LaunchFailed = 719,
    CaptureUnsupported = 900,
    CaptureInvalidated = 901,
    CaptureUnjoined = 904,
    CaptureIsolation = 905,
    CaptureWrongThread = 908,
};

// After one of these every call of the context fails with the same code.
inline bool is_sticky(int code)
{
    for (const int sticky : {46, 214, 220, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 999})
    {
        if (code == sticky)
        {
            return true;
        }
    }

    return false;
}

const char* name_of(int code);
}
