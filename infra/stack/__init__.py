"""The AWS stack, as AWS CDK constructs: one module per concern, wired together in `stack.py`.

`python -m infra synth` writes what these modules describe into `infra/template.json`, which is what gets deployed;
nothing here runs on AWS, and nothing that deploys imports this package.
"""
