"""What the package asks of AWS beside the lake: the vendor's key, the ingest function, alerts, metrics.

Every call to AWS is made here or in `lake.aws`; everything else sees plain Python. Clients come from
`lake.aws.session`, so that there is one retry policy, and errors are told as `lake.aws.errors` tells them.
"""
