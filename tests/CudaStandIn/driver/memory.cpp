#include "memory.h"
#include <cstring>
#include <deque>
#include <map>
#include <stdexcept>
#include <sys/mman.h>
#include <unistd.h>
#include "../fibers/faults.h"
#include "../fibers/guarded.h"
#include "state.h"
#include "streams.h"

namespace driver
{
namespace
{
constexpr size_t PageBytes = 4096, GuardBytes = size_t(4) << 30;
constexpr size_t Alignment = 256;               // what cuMemAlloc promises, and no more
constexpr size_t PoisonFileBytes = 16 << 20;
constexpr size_t QuarantineLength = 500;

struct Range
{
    size_t bytes;
    char* mapping;
    size_t mappedBytes;
};

std::map<uint64_t, Range> s_device, s_pinned;   // by first address
std::map<uint64_t, uint64_t> s_forbidden;       // parts of device memory that have no owner: first address, end

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Large allocations are private mappings of this file, so that only what is written takes memory of its own.
int poison_file()
{
    static const int file = []
    {
        const int f = memfd_create("standin-poison", 0);
        char* all = f >= 0 && ftruncate(f, PoisonFileBytes) == 0
            ? static_cast<char*>(mmap(nullptr, PoisonFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0))
            : nullptr;
        if (all && all != MAP_FAILED)
        {
            memset(all, 0xff, PoisonFileBytes);
            munmap(all, PoisonFileBytes);
        }

        return f;
    }();
    return file;
}

bool map_poisoned(char* at, size_t bytes)
{
    if (bytes < PoisonFileBytes / 16)
    {
        if (mprotect(at, bytes, PROT_READ | PROT_WRITE) != 0)
        {
            return false;
        }

        memset(at, 0xff, bytes);
        return true;
    }

    for (size_t done = 0; done < bytes; done += PoisonFileBytes)
    {
        const size_t part = std::min(PoisonFileBytes, bytes - done);
        if (mmap(at + done, part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, poison_file(), 0) == MAP_FAILED)
        {
            return false;
        }
    }

    return true;
}

// The memory ends at a guard page, as near as its alignment allows; the bytes between are a red zone.
char* allocate(std::map<uint64_t, Range>& ranges, size_t bytes)
{
    const size_t padded = round_up(bytes, Alignment), body = round_up(padded, PageBytes), mapped = body + 2 * GuardBytes;
    char* mapping = static_cast<char*>(mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (mapping == MAP_FAILED)
    {
        return nullptr;
    }

    if (!map_poisoned(mapping + GuardBytes, body))
    {
        munmap(mapping, mapped);
        return nullptr;
    }

    char* memory = mapping + GuardBytes + body - padded;
    fibers::fill_red(memory + bytes, padded - bytes);
    ranges[reinterpret_cast<uint64_t>(memory)] = {bytes, mapping, mapped};
    return memory;
}

const std::pair<const uint64_t, Range>* range_at(const std::map<uint64_t, Range>& ranges, uint64_t address)
{
    auto after = ranges.upper_bound(address);
    return after == ranges.begin() ? nullptr : &*--after;
}

bool inside(const std::map<uint64_t, Range>& ranges, uint64_t address, size_t bytes)
{
    const auto* range = range_at(ranges, address);
    return range && address - range->first <= range->second.bytes && bytes <= range->second.bytes - (address - range->first);
}

bool is_forbidden(uint64_t address, size_t bytes)
{
    auto after = s_forbidden.lower_bound(address + bytes);
    return bytes > 0 && after != s_forbidden.begin() && (--after)->second > address;
}

std::string describe_in(const std::map<uint64_t, Range>& ranges, uint64_t address, const char* what)
{
    for (const auto& [first, range] : ranges)
    {
        const uint64_t mapping = reinterpret_cast<uint64_t>(range.mapping);
        if (address < mapping || address >= mapping + range.mappedBytes)
        {
            continue;
        }

        char text[160];
        if (address < first)
        {
            snprintf(text, sizeof text, "%lu bytes before %s of %zu bytes at %#lx", first - address, what, range.bytes, first);
        }
        else
        {
            snprintf(text, sizeof text, "byte %lu of %s of %zu bytes at %#lx", address - first, what, range.bytes, first);
        }

        return text;
    }

    return "";
}

void check_red_zone(uint64_t first, const Range& range)
{
    if (!fibers::is_red(reinterpret_cast<char*>(first) + range.bytes, round_up(range.bytes, Alignment) - range.bytes))
    {
        fibers::fill_red(reinterpret_cast<char*>(first) + range.bytes, round_up(range.bytes, Alignment) - range.bytes);   // said once
        char text[160];
        snprintf(text, sizeof text, "illegal address: written behind the end of device memory of %zu bytes at %#lx", range.bytes, first);
        throw std::runtime_error(text);
    }
}

// The addresses stay nobody's for a while, so that a use after the free meets no other allocation.
void release(std::map<uint64_t, Range>& ranges, std::map<uint64_t, Range>::iterator at)
{
    static std::deque<Range> quarantine;
    const Range range = at->second;
    s_forbidden.erase(s_forbidden.lower_bound(at->first), s_forbidden.lower_bound(at->first + range.bytes));
    ranges.erase(at);
    mmap(range.mapping, range.mappedBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    quarantine.push_back(range);
    if (quarantine.size() > QuarantineLength)
    {
        munmap(quarantine.front().mapping, quarantine.front().mappedBytes);
        quarantine.pop_front();
    }
}
}

bool on_device(uint64_t address, size_t bytes) { return inside(s_device, address, bytes); }
bool pinned(const void* address, size_t bytes) { return inside(s_pinned, reinterpret_cast<uint64_t>(address), bytes); }

std::pair<uint64_t, uint64_t> owned_range(uint64_t address)
{
    const auto* range = range_at(s_device, address);
    range = range && address - range->first < range->second.bytes ? range : range_at(s_pinned, address);
    if (!range || address - range->first >= range->second.bytes || is_forbidden(address, 1))
    {
        return {};
    }

    uint64_t first = range->first, end = range->first + range->second.bytes;
    const auto above = s_forbidden.upper_bound(address);
    end = above == s_forbidden.end() ? end : std::min(end, above->first);
    first = above == s_forbidden.begin() ? first : std::max(first, std::prev(above)->second);
    return {first, end};
}

std::string describe(const void* address)
{
    const uint64_t at = reinterpret_cast<uint64_t>(address);
    std::string text = describe_in(s_device, at, "device memory");
    text += !text.empty() && is_forbidden(at, 1) ? ", a part that has no owner" : "";
    text = text.empty() ? describe_in(s_pinned, at, "pinned memory") : text;
    return text.empty() ? "where there is no allocation (null, freed, or host memory that is not pinned)" : text;
}

void check_owned(uint64_t address, size_t bytes)
{
    if (is_forbidden(address, bytes))
    {
        throw std::runtime_error("illegal address: a copy or fill of " + std::to_string(bytes) + " bytes touches " + describe(reinterpret_cast<void*>(address))
            + ", of which a part has no owner");
    }
}

void check_red_zones()
{
    for (const auto& [first, range] : s_device)
    {
        check_red_zone(first, range);
    }
}
}

using namespace driver;

// A part of device memory has no owner from now on: whatever touches it faults. Whole pages.
API int standin_forbid(uint64_t address, size_t bytes)
{
    std::lock_guard lock(state().gate);
    if (!inside(s_device, address, bytes) || is_forbidden(address, bytes)
        || mprotect(reinterpret_cast<void*>(address), bytes, PROT_NONE) != 0)
    {
        return InvalidValue;
    }

    s_forbidden[address] = address + bytes;
    return Success;
}

// It has an owner again, who finds NaN there.
API int standin_allow(uint64_t address, size_t bytes)
{
    std::lock_guard lock(state().gate);
    const auto found = s_forbidden.find(address);
    if (found == s_forbidden.end() || found->second != address + bytes
        || mprotect(reinterpret_cast<void*>(address), bytes, PROT_READ | PROT_WRITE) != 0)
    {
        return InvalidValue;
    }

    s_forbidden.erase(found);
    memset(reinterpret_cast<void*>(address), 0xff, bytes);
    return Success;
}

API int cuMemGetInfo_v2(size_t* free, size_t* total)
{
    ENTER();
    *total = state().totalBytes;
    *free = state().totalBytes - std::min(state().totalBytes, uint64_t(state().counters.liveBytes));
    return Success;
}

API int cuMemAlloc_v2(uint64_t* address, size_t bytes)
{
    ENTER();
    if (const int refused = forbidden_in_capture("cuMemAlloc"))
    {
        return refused;
    }

    if (const int refused = injected(Call::Allocate))
    {
        return refused;
    }

    if (bytes == 0)
    {
        return failed(InvalidValue, "cuMemAlloc of 0 bytes");
    }

    Counters& counters = state().counters;
    char* memory = uint64_t(counters.liveBytes) + bytes <= state().totalBytes ? allocate(s_device, bytes) : nullptr;
    if (!memory)
    {
        return failed(OutOfMemory, "cuMemAlloc of " + std::to_string(bytes) + " bytes with " + std::to_string(counters.liveBytes) + " of "
            + std::to_string(state().totalBytes) + " in use");
    }

    fibers::describe_address = &describe;
    *address = reinterpret_cast<uint64_t>(memory);
    counters.allocations++;
    counters.liveAllocations++;
    counters.liveBytes += int64_t(bytes);
    counters.peakBytes = std::max(counters.peakBytes, counters.liveBytes);
    return Success;
}

// Waits for the device, as the driver's does.
API int cuMemFree_v2(uint64_t address)
{
    std::lock_guard lock(state().gate);
    const int refused = entered();          // under a sticky error the memory is given back all the same, for the tests after this one
    if ((refused && refused != state().sticky) || address == 0)
    {
        return refused;
    }

    const auto found = s_device.find(address);
    if (found == s_device.end())
    {
        return failed(InvalidValue, "cuMemFree of an address that cuMemAlloc did not give");
    }

    if (const int forbidden = forbidden_in_capture("cuMemFree"))
    {
        return forbidden;
    }

    int result = finish_all();
    try
    {
        check_red_zone(address, found->second);
    }
    catch (const std::exception& e)
    {
        result = failed(IllegalAddress, e.what());
    }

    Counters& counters = state().counters;
    counters.frees++;
    counters.liveAllocations--;
    counters.liveBytes -= int64_t(found->second.bytes);
    release(s_device, found);
    return result;
}

API int cuMemHostAlloc(void** address, size_t bytes, unsigned)
{
    ENTER();
    if (const int refused = forbidden_in_capture("cuMemHostAlloc"))
    {
        return refused;
    }

    if (const int refused = injected(Call::HostAllocate))
    {
        return refused;
    }

    *address = bytes == 0 ? nullptr : allocate(s_pinned, bytes);
    if (!*address)
    {
        return failed(bytes == 0 ? InvalidValue : OutOfMemory, "cuMemHostAlloc of " + std::to_string(bytes) + " bytes");
    }

    state().counters.pinnedAllocations++;
    return Success;
}

API int cuMemAllocHost_v2(void** address, size_t bytes) { return cuMemHostAlloc(address, bytes, 0); }

API int cuMemFreeHost(void* address)
{
    std::lock_guard lock(state().gate);
    if (const int refused = entered(); refused && refused != state().sticky)
    {
        return refused;
    }

    const auto found = s_pinned.find(reinterpret_cast<uint64_t>(address));
    if (found == s_pinned.end())
    {
        return failed(InvalidValue, "cuMemFreeHost of an address that cuMemHostAlloc did not give");
    }

    const int result = finish_all();
    state().counters.pinnedAllocations--;
    release(s_pinned, found);
    return result;
}
