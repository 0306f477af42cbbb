#include "faults.h"
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <ucontext.h>
#include <unistd.h>
#include "block.h"

namespace fibers
{
std::string (*describe_address)(const void* address);

namespace
{
struct sigaction s_before[2];
thread_local void* t_address;
int s_limitSeconds;
const int TimeSignal = SIGRTMIN + 7;        // the first ones are the runtime's

// These run on the fiber's own stack after the handler has returned, and never return themselves.
void land()
{
    char text[160];
    snprintf(text, sizeof text, "touched global memory at %p", t_address);
    running->end_current(std::string("illegal address: ") + text + (describe_address ? ", " + describe_address(t_address) : ""));
    abort();
}

void land_late()
{
    running->end_current("ran for longer than " + std::to_string(s_limitSeconds) + " seconds");
    abort();
}

// Makes the interrupted fiber go on in another function.
void go_on_in(void (*function)(), void* context)
{
    ucontext_t* machine = static_cast<ucontext_t*>(context);
#if defined(__x86_64__)
    greg_t* registers = machine->uc_mcontext.gregs;
    registers[REG_RSP] = ((registers[REG_RSP] - 256) & ~greg_t(15)) - 8;    // below the red zone, aligned as at a function's entry
    registers[REG_RIP] = reinterpret_cast<greg_t>(function);
#elif defined(__aarch64__)
    machine->uc_mcontext.sp = (machine->uc_mcontext.sp - 256) & ~15ull;
    machine->uc_mcontext.pc = reinterpret_cast<unsigned long long>(function);
#endif
}

void on_time(int, siginfo_t*, void* context)
{
    if (shim::current)
    {
        go_on_in(&land_late, context);
    }
}

timer_t timer_of_this_thread()
{
    static thread_local timer_t timer = []
    {
        sigevent event{};
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = TimeSignal;
        event._sigev_un._tid = gettid();
        timer_t made;
        return timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &made) == 0 ? made : timer_t{};
    }();
    return timer;
}

void set_timer(int seconds)
{
    if (s_limitSeconds > 0)
    {
        itimerspec time{};
        time.it_value.tv_sec = seconds;
        timer_settime(timer_of_this_thread(), 0, &time, nullptr);
    }
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
    go_on_in(&land, context);
}
}

void set_time_limit(int seconds) { s_limitSeconds = seconds; }

TimedLaunch::TimedLaunch() { set_timer(s_limitSeconds); }
TimedLaunch::~TimedLaunch() { set_timer(0); }

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
        action.sa_sigaction = &on_time;
        sigaction(TimeSignal, &action, nullptr);
    });
}
}
