namespace InferenceServer.TestKit;

/// <summary>Programs outside of this repository that some tests need.</summary>
[Flags]
public enum Tool
{
    None = 0,

    /// <summary>A Python with grpcio and protobuf (Debian: python3-grpcio).</summary>
    PythonGrpc = 1,

    /// <summary>Node with @grpc/grpc-js and @grpc/proto-loader (<c>npm install</c> in tests/IntegrationTests/foreign).</summary>
    NodeGrpc = 2,

    /// <summary>Prometheus's promtool (Debian: prometheus).</summary>
    Promtool = 4,
}
