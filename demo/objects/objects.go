// Package objects is where the extension delivers to in the demo and in bench,
// and how it is read back: a folder, or a bucket of the S3 server at hand.
package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxObject bounds what is read of one object, decoded.
const maxObject = 64 << 20

// Visit is called with each object, decoded; size is that of the object itself.
type Visit func(name string, size int64, body []byte) error

// Folder is a place for files.
type Folder string

// URL is the destination's.
func (f Folder) URL() string { return "file://" + string(f) }

// Each reads every file, in the order of their names.
func (f Folder) Each(_ context.Context, do Visit) error {
	dir := string(f)
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		body, err := decode(name, "", bytes.NewReader(content))
		if err != nil {
			return err
		}
		return do(name, int64(len(content)), body)
	})
}

// Each reads every object below the prefix, in the order of their keys.
func (b *Bucket) Each(ctx context.Context, do Visit) error {
	client, bucket, prefix := b.client(), b.name, b.prefix
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list s3://%s/%s: %w", bucket, prefix, err)
		}
		for _, object := range page.Contents {
			key := aws.ToString(object.Key)
			got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
			if err != nil {
				return fmt.Errorf("get s3://%s/%s: %w", bucket, key, err)
			}
			body, err := decode(key, aws.ToString(got.ContentEncoding), got.Body)
			if err = errors.Join(err, got.Body.Close()); err != nil {
				return err
			}
			if err := do(key, aws.ToInt64(object.Size), body); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode undoes the compression that the name's ending or the object's content
// encoding tells.
func decode(name, encoding string, r io.Reader) ([]byte, error) {
	switch {
	case encoding == "gzip" || strings.HasSuffix(name, ".gz"):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("decompress %s: %w", name, err)
		}
		r = z
	case encoding == "zstd" || strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("decompress %s: %w", name, err)
		}
		defer z.Close()
		r = z
	}
	body, err := io.ReadAll(io.LimitReader(r, maxObject+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("decompress %s: %w", name, err)
	case len(body) > maxObject:
		return nil, fmt.Errorf("decompress %s: more than %d bytes", name, maxObject)
	}
	return body, nil
}
