"""The storage engines: implementations of `metadata.table` and `objects.bucket`.

dynamodb  items  expressions    rows in DynamoDB
s3                              objects in S3
database                        a SQLite file: parallel reads, one writer with group commit
sqlite                          rows in that file
memory                          rows that need not outlive the process
files                           objects in a folder, listed in that file
signed_urls                     the hub's own presigned URLs for those objects
"""
