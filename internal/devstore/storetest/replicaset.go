package storetest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
)

// LaggingReplicaSet is a MongoDB replica set whose secondary has not replicated anything yet:
// it is empty, and accepts no writes.
type LaggingReplicaSet struct {
	// URI is the connection string, which ends in a query. Options can be appended with &.
	URI string

	// Secondary is the connection string of the secondary alone.
	Secondary string
}

// NewLaggingReplicaSet starts a replica set for a test. Its primary is the shared MongoDB.
func NewLaggingReplicaSet(t testing.TB) LaggingReplicaSet {
	t.Helper()

	store, err := url.Parse(Mongo(t))
	check(t, err)

	primary := listenForTest(t)
	secondary := listenForTest(t)
	members := []string{primary.Addr().String(), secondary.Addr().String()}

	go serveMember(primary, member{hosts: members, store: store.Host})
	go serveMember(secondary, member{hosts: members})

	return LaggingReplicaSet{
		URI:       "mongodb://" + members[0] + "," + members[1] + store.Path + "?replicaSet=rs0",
		Secondary: "mongodb://" + members[1] + store.Path + "?directConnection=true",
	}
}

func listenForTest(t testing.TB) net.Listener {
	t.Helper()

	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { _ = listener.Close() })

	return listener
}

// member is a member of a LaggingReplicaSet.
type member struct {
	hosts []string // of all members
	store string   // host:port of the MongoDB with the primary's data; empty for the secondary
}

// serveMember answers connections until listener is closed.
func serveMember(listener net.Listener, m member) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}

		go func() {
			defer func() { _ = client.Close() }()
			_ = m.serve(client, listener.Addr().String())
		}()
	}
}

// serve answers the requests of one connection.
func (m member) serve(client net.Conn, self string) error {
	var store net.Conn
	if m.store != "" {
		var err error
		if store, err = net.Dial("tcp", m.store); err != nil {
			return err
		}
		defer func() { _ = store.Close() }()
	}

	for {
		request, err := readMongoMessage(client)
		if err != nil {
			return err
		}

		reply, err := m.answer(request, store, self)
		if err != nil {
			return err
		}

		if _, err := client.Write(reply); err != nil {
			return err
		}
	}
}

// The operation codes of the MongoDB wire protocol.
const (
	opReply = 1
	opQuery = 2004 // only for the first hello of a connection
	opMsg   = 2013
)

// Positions in a message of the MongoDB wire protocol.
const (
	mongoHeader   = 16
	mongoDocument = mongoHeader + 5 // of an opMsg, after the flags and the kind of the section
)

// answer returns the reply to a request.
func (m member) answer(request []byte, store net.Conn, self string) ([]byte, error) {
	hello := bson.D{
		{Key: "isWritablePrimary", Value: store != nil},
		{Key: "ismaster", Value: store != nil},
		{Key: "secondary", Value: store == nil},
		{Key: "setName", Value: "rs0"},
		{Key: "setVersion", Value: 1},
		{Key: "hosts", Value: m.hosts},
		{Key: "me", Value: self},
		{Key: "helloOk", Value: true},
		{Key: "maxBsonObjectSize", Value: 16 << 20},
		{Key: "maxMessageSizeBytes", Value: 48_000_000},
		{Key: "maxWriteBatchSize", Value: 100_000},
		{Key: "minWireVersion", Value: 0},
		{Key: "maxWireVersion", Value: 17},
		{Key: "ok", Value: 1},
	}

	if binary.LittleEndian.Uint32(request[12:]) == opQuery {
		return mongoReply(request, opReply, hello)
	}

	first, err := bson.Raw(request[mongoDocument:]).IndexErr(0)
	if err != nil {
		return nil, err
	}

	switch name := first.Key(); {
	case name == "hello" || name == "isMaster" || name == "ismaster":
		return mongoReply(request, opMsg, hello)
	case store != nil:
		if _, err := store.Write(request); err != nil {
			return nil, err
		}

		return readMongoMessage(store)
	case name == "ping" || name == "endSessions":
		return mongoReply(request, opMsg, bson.D{{Key: "ok", Value: 1}})
	case name == "find":
		nothing := bson.D{
			{Key: "id", Value: int64(0)},
			{Key: "ns", Value: "test.nothing"},
			{Key: "firstBatch", Value: bson.A{}},
		}

		return mongoReply(request, opMsg, bson.D{{Key: "cursor", Value: nothing}, {Key: "ok", Value: 1}})
	}

	return mongoReply(request, opMsg, bson.D{
		{Key: "ok", Value: 0},
		{Key: "code", Value: 10107},
		{Key: "codeName", Value: "NotWritablePrimary"},
		{Key: "errmsg", Value: "not primary"},
	})
}

// mongoReply returns a reply that contains one document.
func mongoReply(request []byte, opCode uint32, document bson.D) ([]byte, error) {
	body, err := bson.Marshal(document)
	if err != nil {
		return nil, err
	}

	before := make([]byte, 5) // no flags; a section that is a document
	if opCode == opReply {
		before = make([]byte, 20) // flags, cursor, position
		before[16] = 1            // number of documents
	}

	reply := slices.Concat(make([]byte, mongoHeader), before, body)
	binary.LittleEndian.PutUint32(reply, uint32(len(reply)))
	copy(reply[8:12], request[4:8]) // the request that this answers
	binary.LittleEndian.PutUint32(reply[12:], opCode)

	return reply, nil
}

// readMongoMessage reads one message of the MongoDB wire protocol: its length, then the rest.
func readMongoMessage(from io.Reader) ([]byte, error) {
	message := make([]byte, mongoHeader)
	if _, err := io.ReadFull(from, message); err != nil {
		return nil, err
	}

	rest := make([]byte, binary.LittleEndian.Uint32(message)-mongoHeader)
	_, err := io.ReadFull(from, rest)

	return append(message, rest...), err
}
