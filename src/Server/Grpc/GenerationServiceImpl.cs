using Grpc.Core;
using InferenceServer.Engine.Requests;
using InferenceServer.Engine.Streaming;
using InferenceServer.Server.Hosting;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Grpc;

/// <summary>Generation over gRPC. A client that reads slowly only lets its own stream fill; the engine never waits for it.</summary>
public sealed class GenerationServiceImpl(ServingGate gate, RpcGuard guard) : V1.GenerationService.GenerationServiceBase
{
    public override Task Generate(
        V1.GenerateRequest request, IServerStreamWriter<V1.GenerateResponse> responseStream, ServerCallContext context)
    {
        return guard.RunAsync(context, async token =>
        {
            Serving serving = gate.Current;
            GenerationRequest wanted = GenerationRequests.Read(request, context.RequestHeaders, context.Deadline);
            await using GenerationStream stream = await serving.Engine.SubmitAsync(wanted, token);
            serving.Usage.Count(stream.AdapterIds);
            V1.GenerationStarted? started = GenerationResponses.Started(stream);
            await foreach (GenerationChunk chunk in stream.ReadAllAsync(token))
            {
                V1.GenerateResponse response = GenerationResponses.FromChunk(chunk);
                response.Started = started;
                started = null;
                await responseStream.WriteAsync(response, token);
            }
        });
    }
}
