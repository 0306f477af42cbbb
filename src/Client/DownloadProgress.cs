namespace InferenceServer.Client;

/// <summary>How far a download is.</summary>
/// <param name="FileName">The file being received.</param>
/// <param name="ReceivedBytes">Bytes of it so far.</param>
/// <param name="FileBytes">Bytes of it in all.</param>
public readonly record struct DownloadProgress(string FileName, long ReceivedBytes, long FileBytes);
