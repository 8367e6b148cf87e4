"""The storage engines: implementations of `metadata.table` and `objects.bucket`.

selection                       selects the engine, and opens the stores per event loop
aws                             opens the stores on DynamoDB and S3
local                           opens the stores on SQLite and files
dynamodb  items  expressions    rows in DynamoDB
s3                              objects in S3
database                        a SQLite file: parallel reads, one writer with group commit
sqlite                          rows in that file
files                           objects in a folder, listed in that file
wake                            starts other functions while one starts
signed_urls                     the hub's own presigned URLs for those objects
"""
