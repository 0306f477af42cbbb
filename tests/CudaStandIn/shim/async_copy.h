// cp.async: a copy from global to shared memory that may be done at any time between its issue and the wait for it.
// Some schedules do it at once, some at the wait and not before, some by chance (fibers/async_copy.cpp).
#pragma once
#include "threads.h"

namespace shim
{
void copy_async(void* shared, const void* global, int bytes, int readBytes);
void copy_commit();
void copy_wait(int groupsLeft);     // -1: also what was not committed (cp.async.wait_all)
}

inline void shim_cp_async16(void* shared, const void* global, bool inside) { shim::copy_async(shared, global, 16, inside ? 16 : 0); }
inline void shim_cp_async8(void* shared, const void* global, bool inside) { shim::copy_async(shared, global, 8, inside ? 8 : 0); }
inline void shim_cp_async4(void* shared, const void* global, bool inside) { shim::copy_async(shared, global, 4, inside ? 4 : 0); }
inline void shim_cp_commit() { shim::copy_commit(); }

inline void shim_cp_wait_all(shim::Site site = shim::Site::current())
{
    if (!shim::omitted(site, "cp.async.wait_all"))
    {
        shim::copy_wait(-1);
    }
}

inline void shim_cp_wait_group(int groupsLeft, shim::Site site = shim::Site::current())
{
    if (!shim::omitted(site, "cp.async.wait_group"))
    {
        shim::copy_wait(groupsLeft);
    }
}
