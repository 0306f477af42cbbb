namespace Grpc.Core;

/// <summary>How a call ended, with a message for people.</summary>
/// <param name="StatusCode">The code, for programs.</param>
/// <param name="Detail">The message; may be empty.</param>
/// <param name="DebugException">What caused it on this side; never sent.</param>
public readonly record struct Status(StatusCode StatusCode, string Detail, Exception? DebugException = null)
{
    public static readonly Status DefaultSuccess = new(StatusCode.OK, "");

    public static readonly Status DefaultCancelled = new(StatusCode.Cancelled, "");
}
