using Grpc.AspNetCore.Server;

namespace Grpc.Core;

public static class ServerCallContextExtensions
{
    /// <summary>The HTTP request behind a call.</summary>
    /// <exception cref="InvalidOperationException">The call did not come over HTTP (a context made by a test).</exception>
    public static HttpContext GetHttpContext(this ServerCallContext serverCallContext) =>
        (serverCallContext as HttpServerCall)?.HttpContext ?? throw new InvalidOperationException("the call did not come over HTTP");
}
