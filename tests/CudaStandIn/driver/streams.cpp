#include "streams.h"
#include <algorithm>
#include <stdexcept>

namespace driver
{
namespace
{
Stream s_default;
std::vector<Stream*> s_streams{&s_default};

enum CaptureMode { Global = 0, ThreadLocal = 1, Relaxed = 2 };

bool can_step(const Stream* stream)
{
    return !stream->queue.empty() && (!stream->queue.front().awaits || stream->queue.front().awaits->done);
}

void step(Stream* stream)
{
    Operation operation = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (operation.work && !state().sticky)
    {
        try
        {
            operation.work();
        }
        catch (const std::exception& e)
        {
            const std::string what = e.what();
            failed(what.find("illegal address") == std::string::npos ? LaunchFailed : IllegalAddress, what);
        }
    }

    if (operation.records)
    {
        operation.records->done = true;
    }
}

void run_to(const std::shared_ptr<Ticket>& ticket);

void step_with_what_it_awaits(Stream* stream)
{
    if (!can_step(stream))
    {
        run_to(stream->queue.front().awaits);
    }

    step(stream);
}

// Runs the ticket's stream up to the recording, and what that waits for, and nothing else.
void run_to(const std::shared_ptr<Ticket>& ticket)
{
    while (!ticket->done)
    {
        step_with_what_it_awaits(ticket->stream);
    }
}

Stream* any_that_can_step(const Stream* but)
{
    std::vector<Stream*> able;
    std::copy_if(s_streams.begin(), s_streams.end(), std::back_inserter(able), [but](Stream* s) { return s != but && can_step(s); });
    return able.empty() ? nullptr : able[state().random.next(unsigned(able.size()))];
}

// What others do before the awaited stream goes on.
void run_others(Stream* awaited, const std::function<bool()>& done)
{
    switch (state().order)
    {
        case Order::OthersFirst:
            while (Stream* other = any_that_can_step(awaited))
            {
                step(other);
            }

            break;
        case Order::Shuffled:
            while (!done())
            {
                step(any_that_can_step(nullptr));
            }

            break;
        default:
            break;
    }
}

int enqueue(Stream* stream, Operation operation)
{
    stream->queue.push_back(std::move(operation));
    if (state().order == Order::AtOnce)
    {
        while (!stream->queue.empty())
        {
            step(stream);
        }
    }

    return Success;
}

int break_capture(Stream* stream, int code, const std::string& detail)
{
    stream->captureBroken = true;
    return failed(code, detail);
}
}

Stream* stream_of(void* handle) { return handle ? static_cast<Stream*>(handle) : &s_default; }

int submit(void* handle, std::function<void()> work)
{
    Stream* stream = stream_of(handle);
    if (!stream->capture)
    {
        return enqueue(stream, {std::move(work), nullptr, nullptr});
    }

    if (stream->captureBroken)
    {
        return failed(CaptureInvalidated, "the capture was broken by an earlier call");
    }

    if (stream->captureMode != Relaxed && stream->captureThread != std::this_thread::get_id())
    {
        // The driver would take it into the graph; nobody means that.
        return break_capture(stream, CaptureWrongThread, "another thread works on a stream that is being captured");
    }

    stream->capture->nodes.push_back(std::move(work));
    return Success;
}

int finish(Stream* stream)
{
    run_others(stream, [stream] { return stream->queue.empty(); });
    while (!stream->queue.empty())
    {
        step_with_what_it_awaits(stream);
    }

    return state().sticky;
}

int finish(const std::shared_ptr<Ticket>& ticket)
{
    run_others(ticket->stream, [&] { return ticket->done; });
    run_to(ticket);
    return state().sticky;
}

int finish_all()
{
    for (Stream* stream : s_streams)
    {
        finish(stream);
    }

    return state().sticky;
}

int forbidden_in_capture(const char* what)
{
    for (Stream* stream : s_streams)
    {
        const bool mine = stream->captureThread == std::this_thread::get_id();
        if (stream->capture && (stream->captureMode == Global || (stream->captureMode == ThreadLocal && mine)))
        {
            return break_capture(stream, CaptureUnsupported, std::string(what) + " while a stream is being captured");
        }
    }

    return Success;
}
}

using namespace driver;

API int cuStreamCreate(void** stream, unsigned flags)
{
    ENTER();
    if (flags > 1)
    {
        return failed(InvalidValue, "cuStreamCreate: unknown flags");
    }

    s_streams.push_back(new Stream);
    *stream = s_streams.back();
    state().counters.streamsAlive++;
    return Success;
}

API int cuStreamCreateWithPriority(void** stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }

API int cuStreamDestroy_v2(void* handle)
{
    ENTER();
    Stream* stream = stream_of(handle);
    const int result = finish(stream);
    s_streams.erase(std::find(s_streams.begin(), s_streams.end(), stream));
    state().counters.streamsAlive--;
    delete stream;
    return result;
}

API int cuStreamSynchronize(void* handle)
{
    ENTER();
    state().counters.synchronizations++;
    Stream* stream = stream_of(handle);
    if (stream->capture)
    {
        return break_capture(stream, CaptureUnsupported, "cuStreamSynchronize of a stream that is being captured");
    }

    const int refused = injected(Call::Synchronize);
    return refused ? refused : finish(stream);
}

API int cuCtxSynchronize()
{
    ENTER();
    state().counters.synchronizations++;
    if (const int refused = forbidden_in_capture("cuCtxSynchronize"))
    {
        return refused;
    }

    const int refused = injected(Call::Synchronize);
    return refused ? refused : finish_all();
}

// Each question lets one operation run, so that a loop that asks comes to its end.
API int cuStreamQuery(void* handle)
{
    ENTER();
    Stream* stream = stream_of(handle);
    if (stream->capture)
    {
        return break_capture(stream, CaptureUnsupported, "cuStreamQuery of a stream that is being captured");
    }

    if (stream->queue.empty())
    {
        return Success;
    }

    step_with_what_it_awaits(stream);
    return state().sticky ? state().sticky : stream->queue.empty() ? Success : NotReady;
}

API int cuEventCreate(void** event, unsigned)
{
    ENTER();
    *event = new Event;
    state().counters.eventsAlive++;
    return Success;
}

API int cuEventDestroy_v2(void* event)
{
    ENTER();
    state().counters.eventsAlive--;
    delete static_cast<Event*>(event);
    return Success;
}

API int cuEventRecord(void* handle, void* streamHandle)
{
    ENTER();
    Event* event = static_cast<Event*>(handle);
    Stream* stream = stream_of(streamHandle);
    event->capturedIn = stream->capture.get();
    if (stream->capture)
    {
        return Success;     // orders what is captured on other streams, of which there are none
    }

    event->latest = std::make_shared<Ticket>(Ticket{stream});
    return enqueue(stream, {nullptr, event->latest, nullptr});
}

API int cuStreamWaitEvent(void* streamHandle, void* handle, unsigned)
{
    ENTER();
    Event* event = static_cast<Event*>(handle);
    Stream* stream = stream_of(streamHandle);
    if (stream->capture.get() != event->capturedIn)
    {
        return stream->capture
            ? break_capture(stream, CaptureIsolation, "a captured stream waits for an event recorded outside of the capture")
            : failed(CaptureUnsupported, "a capture over several streams is not modelled");
    }

    if (stream->capture || !event->latest || event->latest->done)
    {
        return Success;
    }

    return enqueue(stream, {nullptr, nullptr, event->latest});
}

API int cuEventSynchronize(void* handle)
{
    ENTER();
    state().counters.synchronizations++;
    Event* event = static_cast<Event*>(handle);
    const int refused = injected(Call::Synchronize);
    return refused ? refused : event->latest ? finish(event->latest) : Success;
}

API int cuEventQuery(void* handle)
{
    ENTER();
    Event* event = static_cast<Event*>(handle);
    if (!event->latest || event->latest->done)
    {
        return Success;
    }

    step_with_what_it_awaits(event->latest->stream);
    return state().sticky ? state().sticky : event->latest->done ? Success : NotReady;
}

API int cuEventElapsedTime(float* milliseconds, void* first, void* last)
{
    ENTER();
    for (void* handle : {first, last})
    {
        const Event* event = static_cast<Event*>(handle);
        if (!event->latest)
        {
            return failed(InvalidHandle, "cuEventElapsedTime of an event that was never recorded");
        }

        if (!event->latest->done)
        {
            return NotReady;
        }
    }

    *milliseconds = 0;
    return Success;
}

API int cuStreamBeginCapture_v2(void* handle, int mode)
{
    ENTER();
    Stream* stream = stream_of(handle);
    if (!handle || stream->capture || mode < 0 || mode > 2)
    {
        return failed(handle ? InvalidValue : CaptureUnsupported, "cuStreamBeginCapture: the default stream, a stream in capture, or no mode");
    }

    stream->capture = std::make_shared<Graph>();
    stream->captureBroken = false;
    stream->captureMode = mode;
    stream->captureThread = std::this_thread::get_id();
    return Success;
}

API int cuStreamEndCapture(void* handle, void** graph)
{
    ENTER();
    Stream* stream = stream_of(handle);
    *graph = nullptr;
    if (!stream->capture)
    {
        return failed(InvalidValue, "cuStreamEndCapture of a stream that is not being captured");
    }

    if (stream->captureMode != Relaxed && stream->captureThread != std::this_thread::get_id())
    {
        return failed(CaptureWrongThread, "another thread ends the capture");
    }

    const std::shared_ptr<Graph> captured = std::move(stream->capture);
    stream->capture = nullptr;
    if (stream->captureBroken)
    {
        return failed(CaptureInvalidated, "the capture was broken by an earlier call: " + state().detail);
    }

    *graph = new Graph(*captured);
    return Success;
}

API int cuStreamIsCapturing(void* handle, int* status)
{
    ENTER();
    const Stream* stream = stream_of(handle);
    *status = !stream->capture ? 0 : stream->captureBroken ? 2 : 1;
    return Success;
}

API int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long)
{
    ENTER();
    *exec = new std::shared_ptr<Graph>(std::make_shared<Graph>(*static_cast<Graph*>(graph)));
    state().counters.graphsAlive++;
    return Success;
}

API int cuGraphGetNodes(void* graph, void** nodes, size_t* count)
{
    ENTER();
    const size_t all = static_cast<Graph*>(graph)->nodes.size();
    for (size_t i = 0; nodes && i < *count; i++)
    {
        nodes[i] = i < all ? &static_cast<Graph*>(graph)->nodes[i] : nullptr;
    }

    *count = nodes ? std::min(*count, all) : all;
    return Success;
}

API int cuGraphUpload(void*, void*) { ENTER(); return Success; }

API int cuGraphLaunch(void* exec, void* stream)
{
    ENTER();
    if (const int refused = injected(Call::GraphLaunch))
    {
        return refused;
    }

    if (stream_of(stream)->capture)
    {
        return break_capture(stream_of(stream), CaptureUnsupported, "a graph launched into a capture is not modelled");
    }

    state().counters.graphLaunches++;
    const std::shared_ptr<Graph> graph = *static_cast<std::shared_ptr<Graph>*>(exec);
    return submit(stream, [graph]
    {
        for (const auto& node : graph->nodes)
        {
            node();
        }
    });
}

API int cuGraphDestroy(void* graph)
{
    ENTER();
    delete static_cast<Graph*>(graph);
    return Success;
}

API int cuGraphExecDestroy(void* exec)
{
    ENTER();
    state().counters.graphsAlive--;
    delete static_cast<std::shared_ptr<Graph>*>(exec);
    return Success;
}

namespace driver
{
// For standin_reset: what is queued is dropped, captures end.
void forget_queued()
{
    for (Stream* stream : s_streams)
    {
        for (Operation& operation : stream->queue)
        {
            if (operation.records)
            {
                operation.records->done = true;
            }
        }

        stream->queue.clear();
        stream->capture = nullptr;
    }
}
}
