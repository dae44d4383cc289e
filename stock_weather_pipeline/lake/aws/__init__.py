"""The lake on AWS: objects on S3, definitions in Glue, Iceberg on Glue, SQL on Athena."""
