using System.Net;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace InferenceServer.Server.Hosting;

/// <summary>Binds the two ports, and knows afterwards where they are (port 0 takes a free one).</summary>
public sealed class ListenAddresses(IServer server)
{
    /// <summary>Where gRPC is served; known once the host has started.</summary>
    public Uri Grpc => new(Bound()[0]);

    /// <summary>Where metrics and health are served; null when the server was asked not to.</summary>
    public Uri? Http => Bound() is [_, string http, ..] ? new Uri(http) : null;

    internal static void Configure(KestrelServerOptions kestrel, ServerOptions options)
    {
        Listen(kestrel, options.GrpcUrl, HttpProtocols.Http2);
        if (options.HttpUrl != ServerOptions.None)
        {
            Listen(kestrel, options.HttpUrl, HttpProtocols.Http1);
        }
    }

    private static void Listen(KestrelServerOptions kestrel, string address, HttpProtocols protocols)
    {
        // BindingAddress, not Uri: * and + are hosts here.
        BindingAddress url = BindingAddress.Parse(address);
        void Configure(ListenOptions listen)
        {
            listen.Protocols = protocols;
            if (url.Scheme == Uri.UriSchemeHttps)
            {
                listen.UseHttps();
            }
        }

        if (IPAddress.TryParse(url.Host, out IPAddress? ip))
        {
            kestrel.Listen(ip, url.Port, Configure);
        }
        else if (url.Host == "localhost")
        {
            kestrel.ListenLocalhost(url.Port, Configure);
        }
        else
        {
            kestrel.ListenAnyIP(url.Port, Configure);
        }
    }

    private string[] Bound()
    {
        ICollection<string> addresses = server.Features.Get<IServerAddressesFeature>()?.Addresses ?? [];
        return addresses.Count > 0 ? [.. addresses] : throw new InvalidOperationException("the server does not listen yet");
    }
}
