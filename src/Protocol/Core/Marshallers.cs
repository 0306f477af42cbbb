namespace Grpc.Core;

/// <summary>Makes marshallers; called by generated code.</summary>
public static class Marshallers
{
    public static Marshaller<T> Create<T>(Action<T, SerializationContext> serializer, Func<DeserializationContext, T> deserializer) =>
        new(serializer, deserializer);

    public static Marshaller<T> Create<T>(Func<T, byte[]> serializer, Func<byte[], T> deserializer) =>
        new((value, context) => context.Complete(serializer(value)), context => deserializer(context.PayloadAsNewBuffer()));
}
