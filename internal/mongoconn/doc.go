// Package mongoconn owns the connections to MongoDB: where it is, how long a call
// may take, and what an error means.
//
// It knows no collection: packages user and activity have one each. Start reading
// at Open.
package mongoconn
