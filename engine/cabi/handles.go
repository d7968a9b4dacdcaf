package main

import (
	"sync"

	"fedanomaly/engine/fault"
	"fedanomaly/engine/member"
	"fedanomaly/engine/packed"
)

// table holds what the caller knows by number. Numbers are never used twice, so
// a stale one finds nothing. The objects lock themselves: one that is closed
// while another call works on it is erased after that call.
var table = struct {
	sync.Mutex
	next    int64
	members map[int64]*member.Member
	sums    map[int64]*packed.Sum
}{members: map[int64]*member.Member{}, sums: map[int64]*packed.Sum{}}

func keepMember(m *member.Member) int64 {
	table.Lock()
	defer table.Unlock()
	table.next++
	table.members[table.next] = m
	return table.next
}

func keepSum(s *packed.Sum) int64 {
	table.Lock()
	defer table.Unlock()
	table.next++
	table.sums[table.next] = s
	return table.next
}

func memberOf(handle int64) (*member.Member, error) {
	table.Lock()
	defer table.Unlock()
	if m, ok := table.members[handle]; ok {
		return m, nil
	}
	return nil, fault.Closed
}

func sumOf(handle int64) (*packed.Sum, error) {
	table.Lock()
	defer table.Unlock()
	if s, ok := table.sums[handle]; ok {
		return s, nil
	}
	return nil, fault.Closed
}

// free forgets a handle and erases what it stood for.
func free(handle int64) error {
	table.Lock()
	m, isMember := table.members[handle]
	s, isSum := table.sums[handle]
	delete(table.members, handle)
	delete(table.sums, handle)
	table.Unlock()
	switch {
	case isMember:
		m.Close()
	case isSum:
		s.Close()
	default:
		return fault.Closed
	}
	return nil
}
