using Grpc.Core;
using InferenceServer.AdapterStore;
using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Engine.Errors;
using InferenceServer.Models.Merging;
using InferenceServer.Server.Grpc;
using InferenceServer.Server.Hosting;
using InferenceServer.Tensors;
using Xunit;

namespace InferenceServer.IntegrationTests.Hosting;

public class RpcErrorsTests
{
    private const int NoSpaceLeft = 28;
    private static readonly IOException s_fullDisk = new("/srv/secret", NoSpaceLeft);

    public static TheoryData<Exception, StatusCode, string> Mapped => new()
    {
        { new InvalidRequestException("top_p", "7 is not in (0, 1]"), StatusCode.InvalidArgument, "top_p: 7 is not in (0, 1]" },
        { new AdapterFormatException("a.json", "r", "at most 8", "16"), StatusCode.InvalidArgument, "'r': expected at most 8, found 16" },
        { new AdapterNotFoundException("a"), StatusCode.NotFound, "'a'" },
        { new AdapterExistsException("a"), StatusCode.AlreadyExists, "'a'" },
        { new CapacityExceededException("too large", 2, 1), StatusCode.ResourceExhausted, "too large" },
        { new DeviceMemoryException("9 bytes of 'a@b'"), StatusCode.ResourceExhausted, "9 bytes" },
        { new GenerationFailedException("the step failed", new DeviceMemoryException("9 bytes")), StatusCode.ResourceExhausted, "9 bytes" },
        { new QueueFullException(3, 3, TimeSpan.FromSeconds(1)), StatusCode.ResourceExhausted, "3 requests" },
        { new AdapterStorageException("a", "storing", s_fullDisk), StatusCode.ResourceExhausted, "disk is full" },
        { new DeadlineExpiredException("r", 2), StatusCode.DeadlineExceeded, "'r'" },
        { new MergeException("no such module"), StatusCode.FailedPrecondition, "no such module" },
        { new MergeConflictException("another is merged"), StatusCode.FailedPrecondition, "another is merged" },
        { new FailedPreconditionException("first that"), StatusCode.FailedPrecondition, "first that" },
        { new NotServingException("loading"), StatusCode.Unavailable, "loading" },
        { new EngineStoppedException("stopped"), StatusCode.Unavailable, "stopped" },
        { new OperationCanceledException(), StatusCode.Cancelled, "cancelled" },
    };

    [Theory]
    [MemberData(nameof(Mapped))]
    public void An_exception_made_for_callers_has_its_status_and_its_message(Exception error, StatusCode code, string named)
    {
        RpcException status = RpcErrors.ToStatus(error);

        Assert.Equal(code, status.StatusCode);
        Assert.Contains(named, status.Status.Detail, StringComparison.Ordinal);
        Assert.DoesNotContain("/srv", status.Status.Detail, StringComparison.Ordinal);
        Assert.False(RpcErrors.IsOurs(error));
    }

    public static TheoryData<Exception> Ours =>
    [
        new InvalidOperationException("/srv/secret"),
        new IOException("/srv/secret"),
        new AdapterStorageException("a", "storing", new IOException("/srv/secret")),
        new GenerationFailedException("/srv/secret"),
    ];

    [Theory]
    [MemberData(nameof(Ours))]
    public void What_is_our_fault_is_internal_and_tells_nothing_of_this_machine(Exception error)
    {
        RpcException status = RpcErrors.ToStatus(error);

        Assert.Equal(StatusCode.Internal, status.StatusCode);
        Assert.DoesNotContain("secret", status.Status.Detail, StringComparison.Ordinal);
        Assert.True(RpcErrors.IsOurs(error));
    }

    [Fact]
    public void A_full_queue_says_in_whole_milliseconds_when_to_come_back()
    {
        RpcException status = RpcErrors.ToStatus(new QueueFullException(1, 1, TimeSpan.FromMilliseconds(250.1)));

        Assert.Equal("251", status.Trailers.GetValue(RpcErrors.RetryAfterTrailer));
    }
}
