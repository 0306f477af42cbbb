using System.Globalization;
using Grpc.Core;
using InferenceServer.AdapterStore;
using InferenceServer.Engine.Errors;
using InferenceServer.Models.Merging;
using InferenceServer.Server.Hosting;
using InferenceServer.Tensors;
using InferenceServer.Training.Data;
using InferenceServer.Training.Jobs;

namespace InferenceServer.Server.Grpc;

/// <summary>The only place where exceptions become gRPC statuses.</summary>
public static class RpcErrors
{
    /// <summary>Trailer of RESOURCE_EXHAUSTED: when to try again, in milliseconds.</summary>
    public const string RetryAfterTrailer = "retry-after-ms";

    private const string Concealed = "internal error; the server's log has the reason";

    // ENOSPC and EDQUOT of Linux, ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL of Windows.
    private static readonly int[] s_fullDisk = [28, 122, unchecked((int)0x80070070), unchecked((int)0x80070027)];

    /// <summary>
    /// The status that tells the caller what to do next. Only exceptions whose messages are made for callers pass theirs on; of all others
    /// the text stays in the log, because it may hold paths of this machine.
    /// </summary>
    public static RpcException ToStatus(Exception error)
    {
        return error switch
        {
            RpcException rpc => rpc,
            InvalidRequestException or AdapterFormatException or TrainingSpecException or DatasetException =>
                Make(StatusCode.InvalidArgument, error.Message),
            AdapterExistsException => Make(StatusCode.AlreadyExists, error.Message),
            AdapterNotFoundException or JobNotFoundException => Make(StatusCode.NotFound, error.Message),
            QueueFullException full => Make(StatusCode.ResourceExhausted, full.Message, full.RetryAfter),
            CapacityExceededException or DeviceMemoryException => Make(StatusCode.ResourceExhausted, error.Message),
            IOException io when IsFullDisk(io) => Make(StatusCode.ResourceExhausted, "the server's disk is full"),
            DeadlineExpiredException => Make(StatusCode.DeadlineExceeded, error.Message),
            MergeException or MergeConflictException or ChatTemplateMissingException or FailedPreconditionException =>
                Make(StatusCode.FailedPrecondition, error.Message),
            NotServingException or EngineStoppedException => Make(StatusCode.Unavailable, error.Message),
            GenerationFailedException { InnerException: DeviceMemoryException memory } => Make(StatusCode.ResourceExhausted, memory.Message),
            GenerationFailedException => Make(StatusCode.Internal, Concealed),
            OperationCanceledException => Make(StatusCode.Cancelled, "the call was cancelled"),
            _ => Make(StatusCode.Internal, Concealed),
        };
    }

    /// <summary>Whether the exception says that the server, not the caller, did something wrong.</summary>
    public static bool IsOurs(Exception error)
    {
        return error is not RpcException && ToStatus(error).StatusCode == StatusCode.Internal;
    }

    private static bool IsFullDisk(IOException error)
    {
        return s_fullDisk.Contains((error.InnerException as IOException ?? error).HResult);
    }

    private static RpcException Make(StatusCode code, string detail, TimeSpan? retryAfter = null)
    {
        Metadata trailers = [];
        if (retryAfter is { } wait)
        {
            long milliseconds = Math.Max(1, (long)Math.Ceiling(wait.TotalMilliseconds));
            trailers.Add(RetryAfterTrailer, milliseconds.ToString(CultureInfo.InvariantCulture));
        }

        return new RpcException(new Status(code, detail), trailers);
    }
}
