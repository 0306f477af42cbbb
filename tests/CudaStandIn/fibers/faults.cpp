#include "faults.h"
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <ucontext.h>
#include "block.h"

namespace fibers
{
std::string (*describe_address)(const void* address);

namespace
{
struct sigaction s_before[2];
thread_local void* t_address;

// Runs on the fiber's own stack after the handler has returned, and never returns itself.
void land()
{
    char text[160];
    snprintf(text, sizeof text, "touched global memory at %p", t_address);
    running->end_current(std::string("illegal address: ") + text + (describe_address ? ", " + describe_address(t_address) : ""));
    abort();
}

void on_fault(int signal, siginfo_t* info, void* context)
{
    if (!shim::current)
    {
        const struct sigaction& before = s_before[signal == SIGBUS];
        if (before.sa_flags & SA_SIGINFO)
        {
            before.sa_sigaction(signal, info, context);
        }
        else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        {
            before.sa_handler(signal);
        }
        else
        {
            sigaction(signal, &before, nullptr);    // the instruction runs again and ends the process as it would have
        }

        return;
    }

    t_address = info->si_addr;
    ucontext_t* machine = static_cast<ucontext_t*>(context);
#if defined(__x86_64__)
    greg_t* registers = machine->uc_mcontext.gregs;
    registers[REG_RSP] = ((registers[REG_RSP] - 256) & ~greg_t(15)) - 8;    // below the red zone, aligned as at a function's entry
    registers[REG_RIP] = reinterpret_cast<greg_t>(&land);
#elif defined(__aarch64__)
    machine->uc_mcontext.sp = (machine->uc_mcontext.sp - 256) & ~15ull;
    machine->uc_mcontext.pc = reinterpret_cast<unsigned long long>(&land);
#endif
}
}

void catch_faults()
{
    static std::once_flag once;
    std::call_once(once, []
    {
        struct sigaction action{};
        action.sa_sigaction = &on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        sigaction(SIGSEGV, &action, &s_before[0]);
        sigaction(SIGBUS, &action, &s_before[1]);
    });
}
}
