using System.Runtime.InteropServices;
using System.Text;

namespace InferenceServer.AdapterStore.Catalog;

/// <summary>
/// The changes that the catalog makes to the disk, one method each, so that a test can stop it before any of them as a crash would.
/// </summary>
internal class StoreFiles
{
    /// <summary>Called before each change; throwing stops it.</summary>
    protected virtual void Step(string operation, string path)
    {
    }

    public void CreateDirectory(string path)
    {
        Step("create directory", path);
        Directory.CreateDirectory(path);
    }

    public FileStream CreateFile(string path)
    {
        Step("create file", path);
        return new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0);
    }

    public void Write(FileStream file, ReadOnlySpan<byte> bytes)
    {
        // In two parts, so that a stop in between leaves half a write.
        Step("write", file.Name);
        int half = bytes.Length / 2;
        file.Write(bytes[..half]);
        Step("write the rest", file.Name);
        file.Write(bytes[half..]);
    }

    /// <summary>Makes a file's contents durable.</summary>
    public void Sync(FileStream file)
    {
        Step("sync file", file.Name);
        file.Flush(flushToDisk: true);
    }

    /// <summary>Makes a directory's entries durable (renames and new files in it).</summary>
    public void SyncDirectory(string path)
    {
        Step("sync directory", path);
        if (OperatingSystem.IsWindows())
        {
            // NTFS journals directory changes itself and has no such call.
            return;
        }

        int handle = Open(Encoding.UTF8.GetBytes(path + '\0'), 0);
        if (handle < 0)
        {
            throw new IOException($"cannot open directory '{path}' to sync it: error {Marshal.GetLastPInvokeError()}");
        }

        int result = Fsync(handle);
        int error = Marshal.GetLastPInvokeError();
        _ = Close(handle);
        if (result != 0)
        {
            throw new IOException($"cannot sync directory '{path}': error {error}");
        }
    }

    /// <summary>Renames a directory; the target must not exist.</summary>
    public void MoveDirectory(string from, string to)
    {
        Step("move directory", to);
        Directory.Move(from, to);
    }

    /// <summary>Renames a file over another, atomically.</summary>
    public void ReplaceFile(string from, string to)
    {
        Step("replace file", to);
        File.Move(from, to, overwrite: true);
    }

    public void DeleteTree(string path)
    {
        Step("delete", path);
        if (Directory.Exists(path))
        {
            Directory.Delete(path, recursive: true);
        }
        else
        {
            File.Delete(path);
        }
    }

    /// <summary>Writes a new file and makes its contents durable.</summary>
    public void WriteFile(string path, ReadOnlySpan<byte> bytes)
    {
        using FileStream file = CreateFile(path);
        Write(file, bytes);
        Sync(file);
    }

    // https://man7.org/linux/man-pages/man2/open.2.html; .NET opens no directories.
    [DllImport("libc", EntryPoint = "open", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Open(byte[] path, int flags);

    [DllImport("libc", EntryPoint = "fsync", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Fsync(int handle);

    [DllImport("libc", EntryPoint = "close", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Close(int handle);
}
