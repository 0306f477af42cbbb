namespace InferenceServer.Client;

/// <summary>How far an upload is.</summary>
/// <param name="FileName">The file being sent.</param>
/// <param name="SentBytes">Bytes sent, over all files.</param>
/// <param name="TotalBytes">Bytes to send, over all files.</param>
public readonly record struct UploadProgress(string FileName, long SentBytes, long TotalBytes);
