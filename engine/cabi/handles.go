package main

import (
	"sync"

	"fedanomaly/engine/fault"
)

// table holds what the caller knows by number. Numbers are never used twice, so
// a stale one finds nothing. The objects lock themselves: one that is closed
// while another call works on it is erased after that call.
var table = struct {
	sync.Mutex
	next    int64
	objects map[int64]any
}{objects: map[int64]any{}}

// keep gives an object a number.
func keep(object any) int64 {
	table.Lock()
	defer table.Unlock()
	table.next++
	table.objects[table.next] = object
	return table.next
}

// find returns the object of a number, if it is of that type.
func find[T any](handle int64) (T, error) {
	table.Lock()
	defer table.Unlock()
	object, ok := table.objects[handle].(T)
	if !ok {
		return object, fault.Closed
	}
	return object, nil
}

// take is find, and forgets the number: of two calls at once, one gets it.
func take[T any](handle int64) (T, error) {
	table.Lock()
	defer table.Unlock()
	object, ok := table.objects[handle].(T)
	if !ok {
		return object, fault.Closed
	}
	delete(table.objects, handle)
	return object, nil
}

// free forgets a handle and erases what it stood for.
func free(handle int64) error {
	object, err := take[any](handle)
	if err != nil {
		return err
	}
	if secret, ok := object.(interface{ Close() }); ok {
		secret.Close()
	}
	return nil
}
