// Streams: operations in order, waits for events, and captures into graphs.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>
#include "state.h"

namespace driver
{
struct Stream;

// One recording of an event. Its stream sets it done when it gets there.
struct Ticket
{
    Stream* stream;
    bool done = false;
};

struct Graph
{
    std::vector<std::function<void()>> nodes;
};

struct Event
{
    std::shared_ptr<Ticket> latest;
    Graph* capturedIn = nullptr;
};

// Work to run, or the end of what an event's ticket stands for, or a wait for one.
struct Operation
{
    std::function<void()> work;
    std::shared_ptr<Ticket> records, awaits;
};

struct Stream
{
    std::deque<Operation> queue;
    std::shared_ptr<Graph> capture;
    bool captureBroken = false;
    int captureMode = 0;
    std::thread::id captureThread;
};

// Null is the default stream, which here orders nothing among the others.
Stream* stream_of(void* handle);

// Queues the work, or adds it to the graph that the stream is being captured into.
int submit(void* stream, std::function<void()> work);

// Runs until the stream, the ticket or the device is done with everything given so far; other streams as the order says.
int finish(Stream* stream);
int finish(const std::shared_ptr<Ticket>& ticket);
int finish_all();

// An error if what the call does is forbidden while a stream is captured (allocations, waits for the device); the capture is broken then.
int forbidden_in_capture(const char* what);
}
