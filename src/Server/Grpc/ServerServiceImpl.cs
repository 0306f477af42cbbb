using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using InferenceServer.Protocol.V1;
using InferenceServer.Server.Hosting;

namespace InferenceServer.Server.Grpc;

/// <summary>What this server is and how it stands.</summary>
public sealed class ServerServiceImpl(ServingGate gate, RpcGuard guard, TimeProvider time) : ServerService.ServerServiceBase
{
    public override Task<ServerInfo> GetInfo(GetInfoRequest request, ServerCallContext context)
    {
        return guard.RunAsync(context, _ =>
        {
            Serving serving = gate.Current;
            return Task.FromResult(new ServerInfo
            {
                Version = ServerVersion.Text,
                Uptime = Duration.FromTimeSpan(time.GetUtcNow() - serving.StartedAt),
                Model = serving.DescribeModel(),
                Device = serving.Backend.Description,
                Limits = serving.DescribeLimits(),
                Load = serving.DescribeLoad(),
                MergedAdapter = serving.Engine.MergedAdapter?.Id.ToString() ?? "",
            });
        });
    }
}
