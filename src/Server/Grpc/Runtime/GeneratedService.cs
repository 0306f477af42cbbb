using System.Reflection;
using Grpc.Core;
using ServiceDescriptor = Google.Protobuf.Reflection.ServiceDescriptor;

namespace Grpc.AspNetCore.Server;

/// <summary>What the generator made for a service class: how to bind it, and its descriptor.</summary>
internal sealed record GeneratedService(MethodInfo Bind, ServiceDescriptor? Descriptor)
{
    /// <exception cref="InvalidOperationException">The class does not derive from a generated base class.</exception>
    public static GeneratedService Find(Type serviceType)
    {
        for (Type? type = serviceType; type is not null; type = type.BaseType)
        {
            if (type.GetCustomAttribute<BindServiceMethodAttribute>(inherit: false) is { } attribute)
            {
                Type generated = attribute.BindType;
                MethodInfo bind = generated.GetMethod(attribute.BindMethodName, [typeof(ServiceBinderBase), type])
                    ?? throw new InvalidOperationException(
                        $"{generated} has no method {attribute.BindMethodName}(ServiceBinderBase, {type.Name})");
                return new(bind, generated.GetProperty("Descriptor")?.GetValue(null) as ServiceDescriptor);
            }
        }

        throw new InvalidOperationException($"{serviceType} does not derive from a generated gRPC service base class");
    }
}
