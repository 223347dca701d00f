package quiet

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Client is the bare SDK: what a put costs when nothing is asked of it but to
// arrive. It is what loadfleet's puts are measured against.
type Client struct{ s3 *s3.Client }

// NewClient makes a client for one endpoint, which keeps so many connections.
func NewClient(endpoint, accessKey, secretKey string, connections int) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, connections
	return newClient(endpoint, accessKey, secretKey, &http.Client{Transport: transport})
}

// NewClientWith is a client that sends through a transport of the caller's and
// tells it the status of each reply.
func NewClientWith(endpoint, accessKey, secretKey string, transport http.RoundTripper, status func(int)) *Client {
	return newClient(endpoint, accessKey, secretKey, &http.Client{Transport: told{transport, status}})
}

type told struct {
	next   http.RoundTripper
	status func(int)
}

func (t told) RoundTrip(r *http.Request) (*http.Response, error) {
	reply, err := t.next.RoundTrip(r)
	if err == nil {
		t.status(reply.StatusCode)
	}
	return reply, err
}

func newClient(endpoint, accessKey, secretKey string, client *http.Client) *Client {
	return &Client{s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, UsePathStyle: true,
		Credentials:                aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(accessKey, secretKey, "")),
		HTTPClient:                 client,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	})}
}

// Put puts an object, whatever is there.
func (c *Client) Put(ctx context.Context, bucket, key string, body []byte) error {
	size := int64(len(body))
	if _, err := c.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body), ContentLength: &size}); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}
