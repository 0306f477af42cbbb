// Copies and fills. Pinned memory is read or written when the copy runs; other host memory when it is called, as the driver does by staging it.
#include <cstring>
#include <stdexcept>
#include <vector>
#include "memory.h"
#include "state.h"
#include "streams.h"

using namespace driver;

namespace
{
int refuse(const char* call, uint64_t address, size_t bytes)
{
    return failed(InvalidValue, std::string(call) + ": " + std::to_string(bytes) + " bytes at " + describe(reinterpret_cast<void*>(address)));
}

// Why a copy may not be given; Success otherwise.
int check(const char* call, uint64_t device, size_t bytes)
{
    if (const int refused = injected(Call::Copy))
    {
        return refused;
    }

    return on_device(device, bytes) ? Success : refuse(call, device, bytes);
}

// Host memory that is not pinned moves under the garbage collector or is gone when a graph is replayed.
int unpinned_in_capture(const char* call, void* stream)
{
    stream_of(stream)->captureBroken = true;
    return failed(CaptureUnsupported, std::string(call) + ": host memory that is not pinned in a captured stream");
}

void count(int64_t& copies, int64_t& bytes, size_t n)
{
    copies++;
    bytes += int64_t(n);
}

template <class T> int fill(const char* call, uint64_t device, T value, size_t count, void* stream)
{
    if (const int refused = check(call, device, count * sizeof(T)))
    {
        return refused;
    }

    if (device % sizeof(T) != 0)
    {
        return failed(InvalidValue, std::string(call) + ": the address is not aligned");
    }

    return submit(stream, [=]
    {
        state().counters.fills++;
        check_owned(device, count * sizeof(T));
        std::fill_n(reinterpret_cast<T*>(device), count, value);
    });
}
}

API int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream)
{
    ENTER();
    if (const int refused = check("cuMemcpyHtoDAsync", to, bytes))
    {
        return refused;
    }

    if (pinned(from, bytes) || state().order == Order::AtOnce)
    {
        if (stream_of(stream)->capture && !pinned(from, bytes))
        {
            return unpinned_in_capture("cuMemcpyHtoDAsync", stream);
        }

        return submit(stream, [=]
        {
            count(state().counters.copiesUp, state().counters.bytesUp, bytes);
            check_owned(to, bytes);
            memcpy(reinterpret_cast<void*>(to), from, bytes);
        });
    }

    if (stream_of(stream)->capture)
    {
        return unpinned_in_capture("cuMemcpyHtoDAsync", stream);
    }

    const char* first = static_cast<const char*>(from);
    return submit(stream, [to, bytes, staged = std::vector<char>(first, first + bytes)]
    {
        count(state().counters.copiesUp, state().counters.bytesUp, bytes);
        check_owned(to, bytes);
        memcpy(reinterpret_cast<void*>(to), staged.data(), bytes);
    });
}

API int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream)
{
    ENTER();
    if (const int refused = check("cuMemcpyDtoHAsync", from, bytes))
    {
        return refused;
    }

    const bool waits = !pinned(to, bytes);
    if (waits && stream_of(stream)->capture)
    {
        return unpinned_in_capture("cuMemcpyDtoHAsync", stream);
    }

    const int result = submit(stream, [=]
    {
        count(state().counters.copiesDown, state().counters.bytesDown, bytes);
        check_owned(from, bytes);
        memcpy(to, reinterpret_cast<void*>(from), bytes);
    });
    return result || !waits ? result : finish(stream_of(stream));
}

API int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream)
{
    ENTER();
    if (const int refused = check("cuMemcpyDtoDAsync", to, bytes))
    {
        return refused;
    }

    if (!on_device(from, bytes))
    {
        return refuse("cuMemcpyDtoDAsync", from, bytes);
    }

    if (bytes > 0 && from < to + bytes && to < from + bytes)
    {
        return failed(InvalidValue, "cuMemcpyDtoDAsync: the ranges overlap");
    }

    return submit(stream, [=]
    {
        count(state().counters.copiesWithin, state().counters.bytesWithin, bytes);
        check_owned(to, bytes);
        check_owned(from, bytes);
        memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    });
}

API int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes)
{
    ENTER();
    const int refused = forbidden_in_capture("cuMemcpyHtoD");
    const int result = refused ? refused : cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr);
    return result ? result : finish(stream_of(nullptr));
}

API int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes)
{
    ENTER();
    const int refused = forbidden_in_capture("cuMemcpyDtoH");
    const int result = refused ? refused : cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr);
    return result ? result : finish(stream_of(nullptr));
}

API int cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, void* stream)
{
    ENTER();
    return fill("cuMemsetD8Async", to, value, count, stream);
}

API int cuMemsetD16Async(uint64_t to, unsigned short value, size_t count, void* stream)
{
    ENTER();
    return fill("cuMemsetD16Async", to, value, count, stream);
}

API int cuMemsetD32Async(uint64_t to, unsigned value, size_t count, void* stream)
{
    ENTER();
    return fill("cuMemsetD32Async", to, value, count, stream);
}
