using InferenceServer.Tensors.Adapters;

namespace InferenceServer.AdapterStore.Cache;

/// <content>Who makes room: what is taken from the host and from the device, least recently used first. Everything called with the lock held says so.</content>
public sealed partial class AdapterCache
{
    // Lock held. Bytes of the memory, in which adapters' pages leave holes, and adapters' own bytes are not the same: one share stands for the other.
    private bool EvictIdleFor(long byteCount, IAdapterRoom room)
    {
        long idle = 0;
        foreach (CacheEntry entry in _deviceLru)
        {
            idle += entry is { IsPinned: false, Leases: 0 } ? entry.Device!.SharedByteCount : 0;
        }

        double spread = (double)room.HeldBytes / Math.Max(1, _deviceUsed - _deviceApart);
        if (idle == 0 || byteCount > Math.Min(idle * spread, room.HeldBytes - room.FloorBytes))
        {
            return false;
        }

        EvictIdleDevice(_deviceUsed - _deviceReleasing - Math.Max(1, (long)(byteCount / spread)));
        return true;
    }

    // Lock held. What adapters have outside of the shared memory (weights that replace the base's) has the device budget to itself.
    private void EvictIdleApart()
    {
        if (_room is null || _deviceApart <= _options.DeviceBudgetBytes)
        {
            return;
        }

        long apart = _deviceLru.Sum(entry => Apart(entry.Device!));
        LinkedListNode<CacheEntry>? node = _deviceLru.First;
        while (node is not null && apart > _options.DeviceBudgetBytes)
        {
            LinkedListNode<CacheEntry>? next = node.Next;
            if (node.Value is { IsPinned: false, Leases: 0 } idle && Apart(idle.Device!) > 0)
            {
                apart -= Apart(idle.Device!);
                StartRelease(idle);
                _totals = _totals with { DeviceEvictions = _totals.DeviceEvictions + 1 };
            }

            node = next;
        }
    }

    // Lock held.
    private void EvictIdleDevice(long goal)
    {
        LinkedListNode<CacheEntry>? node = _deviceLru.First;
        while (node is not null && _deviceUsed - _deviceReleasing > goal)
        {
            LinkedListNode<CacheEntry>? next = node.Next;
            if (node.Value is { IsPinned: false, Leases: 0 } idle)
            {
                StartRelease(idle);
                _totals = _totals with { DeviceEvictions = _totals.DeviceEvictions + 1 };
            }

            node = next;
        }
    }

    // Lock held. Adapters that a background thread is copying from stay.
    private void EvictHost(long goal)
    {
        LinkedListNode<CacheEntry>? node = _hostLru.First;
        while (node is not null && _hostUsed > goal)
        {
            LinkedListNode<CacheEntry>? next = node.Next;
            if (node.Value is { IsLoading: false } idle)
            {
                FreeHost(idle);
                _totals = _totals with { HostEvictions = _totals.HostEvictions + 1 };
                Settle(idle);
            }

            node = next;
        }
    }

    private static long Apart(DeviceAdapter device) => device.ByteCount - device.SharedByteCount;

    // Lock held. The pump gives the memory back, which may take the system a while.
    private void FreeHost(CacheEntry entry)
    {
        _freedHosts.Add(entry.Host!);
        entry.Host = null;
        _hostUsed -= entry.HostBytes;
        _hostLru.Remove(entry.HostNode);
    }

    // Lock held. The pump disposes; until then the bytes count as used.
    private void StartRelease(CacheEntry entry)
    {
        _releases.Add((entry, entry.Device!, entry.DeviceBytes));
        entry.PendingReleases++;
        _deviceReleasing += entry.DeviceBytes;
        entry.Device = null;
        if (entry.DeviceNode.List is not null)
        {
            _deviceLru.Remove(entry.DeviceNode);
        }
    }

    // Lock held.
    private static void MoveToEnd(LinkedList<CacheEntry> list, LinkedListNode<CacheEntry> node)
    {
        if (ReferenceEquals(node.List, list) && !ReferenceEquals(list.Last, node))
        {
            list.Remove(node);
            list.AddLast(node);
        }
    }
}
