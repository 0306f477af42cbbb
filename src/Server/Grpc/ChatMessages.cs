using System.Buffers;
using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using InferenceServer.Engine.Errors;
using InferenceServer.Engine.Requests;
using V1 = InferenceServer.Protocol.V1;

namespace InferenceServer.Server.Grpc;

/// <summary>Brings a chat of the contract into JSON, which is what chat templates speak.</summary>
internal static class ChatMessages
{
    public static ChatPrompt Read(V1.ChatPrompt chat)
    {
        if (chat.Messages.Count == 0)
        {
            throw new InvalidRequestException("chat.messages", "is empty");
        }

        JsonElement messages = ToJson(writer =>
        {
            writer.WriteStartArray();
            foreach (V1.ChatMessage message in chat.Messages)
            {
                WriteMessage(writer, message);
            }

            writer.WriteEndArray();
        });
        return new ChatPrompt(
            messages,
            !chat.HasAddGenerationPrompt || chat.AddGenerationPrompt,
            chat.Tools is { } tools ? ToJson(writer => WriteList(writer, tools)) : null,
            chat.Variables is { } variables ? ToJson(writer => WriteStruct(writer, variables)) : null);
    }

    private static JsonElement ToJson(Action<Utf8JsonWriter> write)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter writer = new(buffer))
        {
            write(writer);
        }

        return JsonElement.Parse(buffer.WrittenSpan, new JsonDocumentOptions { MaxDepth = 128 });
    }

    private static void WriteMessage(Utf8JsonWriter writer, V1.ChatMessage message)
    {
        writer.WriteStartObject();
        WriteUnlessGiven(writer, message, "role", message.Role);
        WriteUnlessGiven(writer, message, "content", message.Content);
        foreach ((string name, Value value) in message.Fields?.Fields ?? [])
        {
            writer.WritePropertyName(name);
            WriteValue(writer, value);
        }

        writer.WriteEndObject();
    }

    private static void WriteUnlessGiven(Utf8JsonWriter writer, V1.ChatMessage message, string name, string value)
    {
        if (message.Fields?.Fields.ContainsKey(name) != true)
        {
            writer.WriteString(name, value);
        }
    }

    private static void WriteStruct(Utf8JsonWriter writer, Struct fields)
    {
        writer.WriteStartObject();
        foreach ((string name, Value value) in fields.Fields)
        {
            writer.WritePropertyName(name);
            WriteValue(writer, value);
        }

        writer.WriteEndObject();
    }

    private static void WriteList(Utf8JsonWriter writer, ListValue list)
    {
        writer.WriteStartArray();
        foreach (Value value in list.Values)
        {
            WriteValue(writer, value);
        }

        writer.WriteEndArray();
    }

    private static void WriteValue(Utf8JsonWriter writer, Value value)
    {
        switch (value.KindCase)
        {
            case Value.KindOneofCase.BoolValue:
                writer.WriteBooleanValue(value.BoolValue);
                break;
            case Value.KindOneofCase.NumberValue:
                WriteNumber(writer, value.NumberValue);
                break;
            case Value.KindOneofCase.StringValue:
                writer.WriteStringValue(value.StringValue);
                break;
            case Value.KindOneofCase.StructValue:
                WriteStruct(writer, value.StructValue);
                break;
            case Value.KindOneofCase.ListValue:
                WriteList(writer, value.ListValue);
                break;
            default:
                writer.WriteNullValue();
                break;
        }
    }

    private static void WriteNumber(Utf8JsonWriter writer, double number)
    {
        if (!double.IsFinite(number))
        {
            throw new InvalidRequestException("chat", $"holds the number {number}, which JSON has no form for");
        }

        // A template prints 3 as 3; a Struct knows only doubles.
        if (number == Math.Truncate(number) && Math.Abs(number) < 1L << 53)
        {
            writer.WriteNumberValue((long)number);
        }
        else
        {
            writer.WriteNumberValue(number);
        }
    }
}
