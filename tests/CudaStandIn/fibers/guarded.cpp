#include "guarded.h"
#include <cstdlib>
#include <cstring>

namespace fibers
{
namespace
{
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

char* allocate_guarded(size_t bytes)
{
    char* memory = static_cast<char*>(aligned_alloc(256, (bytes + 2 * RedZone + 255) / 256 * 256)) + RedZone;
    fill_red(memory - RedZone, RedZone);
    memset(memory, 0xff, bytes);
    fill_red(memory + bytes, RedZone);
    return memory;
}

void free_guarded(char* memory)
{
    if (memory)
    {
        free(memory - RedZone);
    }
}

long damage_of_guard(const char* memory, size_t bytes)
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
