#include "guarded.h"
#include <cstring>
#include <stdexcept>
#include <sys/mman.h>

namespace fibers
{
namespace
{
constexpr size_t Reach = size_t(32) << 30;    // 2^32 words of four bytes, and as much again
constexpr size_t Capacity = 1 << 20;        // 48 KiB static and 227 KiB dynamic, and a red zone for each array

unsigned char red_byte(const char* at) { return reinterpret_cast<size_t>(at) & 1 ? 0xff : 0xa5; }
}

void fill_red(char* from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
    {
        from[i] = char(red_byte(from + i));
    }
}

bool is_red(const char* from, size_t bytes)
{
    static const auto pattern = []
    {
        struct { alignas(2) char bytes[RedZone + 2]; } p;
        fill_red(p.bytes, sizeof p.bytes);
        return p;
    }();
    for (size_t done = 0; done < bytes; done += RedZone)
    {
        const size_t part = bytes - done < RedZone ? bytes - done : RedZone;
        if (memcmp(from + done, pattern.bytes + (reinterpret_cast<size_t>(from) & 1), part) != 0)
        {
            return false;
        }
    }

    return true;
}

SharedMemory::SharedMemory()
{
    void* mapping = mmap(nullptr, 2 * Reach + Capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED || mprotect(static_cast<char*>(mapping) + Reach, Capacity, PROT_READ | PROT_WRITE) != 0)
    {
        throw std::runtime_error("no memory for shared arrays");
    }

    _mapping = static_cast<char*>(mapping);
    _memory = _mapping + Reach;
}

SharedMemory::~SharedMemory() { munmap(_mapping, 2 * Reach + Capacity); }

char* SharedMemory::allocate(size_t bytes)
{
    char* memory = _memory + _used + RedZone;
    _used += (bytes + 2 * RedZone + 255) / 256 * 256;
    fill_red(memory - RedZone, RedZone);
    memset(memory, 0xff, bytes);
    fill_red(memory + bytes, RedZone);
    return memory;
}

long SharedMemory::damage_around(const char* memory, size_t bytes)
{
    if (is_red(memory - RedZone, RedZone) && is_red(memory + bytes, RedZone))
    {
        return 0;
    }

    for (size_t i = 0; i < RedZone; i++)
    {
        if (!is_red(memory - 1 - i, 1))
        {
            return -long(i) - 1;
        }

        if (!is_red(memory + bytes + i, 1))
        {
            return long(bytes + i) + 1;
        }
    }

    return 0;
}
}
