using Grpc.Wire;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Grpc.AspNetCore.Server;

/// <summary>The HTTP side of a call before its method is known to be called.</summary>
internal static class GrpcHttp
{
    /// <summary>
    /// Turns away what is no gRPC (426 for HTTP/1, 415 for another content type), and lifts the limits that do not fit streams.
    /// </summary>
    public static bool TryPrepare(HttpContext http)
    {
        if (!HttpProtocol.IsHttp2(http.Request.Protocol) && !HttpProtocol.IsHttp3(http.Request.Protocol))
        {
            http.Response.StatusCode = StatusCodes.Status426UpgradeRequired;
            http.Response.Headers.Upgrade = "HTTP/2";
            return false;
        }

        if (!GrpcHeaders.IsGrpcContentType(http.Request.ContentType))
        {
            http.Response.StatusCode = StatusCodes.Status415UnsupportedMediaType;
            return false;
        }

        // gRPC has its own limit on messages, and a stream may rest as long as it likes.
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = null;
        }

        if (http.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } requestRate)
        {
            requestRate.MinDataRate = null;
        }

        http.Response.ContentType = GrpcHeaders.ContentType;
        http.Response.Headers.GrpcAcceptEncoding = GrpcHeaders.AcceptedEncodings;
        return true;
    }
}
