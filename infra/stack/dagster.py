"""The optional stack: Dagster itself on Fargate. Webserver and daemon are services, every run is a task of its own, its
records are in Postgres. Nothing is reachable from outside: people come through the account's Session Manager.
"""

from __future__ import annotations

from aws_cdk import Aws, CfnOutput, CfnParameter, DefaultStackSynthesizer, Fn, RemovalPolicy, Stack, Tags
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from constructs import Construct

from infra.stack import permissions
from infra.stack.acknowledged import acknowledge
from infra.stack.names import Names

SETTINGS = {
    "RawBucket": "STOCK_WEATHER_RAW_BUCKET",
    "ParquetBucket": "STOCK_WEATHER_PARQUET_BUCKET",
    "ResultsBucket": "STOCK_WEATHER_RESULTS_BUCKET",
    "AthenaWorkgroup": "STOCK_WEATHER_ATHENA_WORKGROUP",
    "AlertTopicArn": "STOCK_WEATHER_ALERT_TOPIC_ARN",
    "PolygonSecretArn": "STOCK_WEATHER_POLYGON_SECRET_ARN",
    "IngestFunction": "STOCK_WEATHER_INGEST_FUNCTION",
}
"""Outputs of the main stack that are parameters here, and the settings they become."""
CONTAINER = "dagster"
_SERVICES = {
    "webserver": ["dagster-webserver", "-h", "0.0.0.0", "-p", "3000"],
    "daemon": ["dagster-daemon", "run"],
}
_CPU, _MEMORY_MB = "512", "2048"
_RUN_CPU, _RUN_MEMORY_MB = "1024", "4096"


class DagsterStack(Stack):
    """Network, database, cluster, services."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Dagster for the stock-weather pipeline: webserver, daemon, a task for each run, Postgres",
            synthesizer=DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
            analytics_reporting=False,
        )
        prefix = self._text("Prefix", "What every resource's name begins with.", "stock-weather")
        repository = self._text("ImageRepository", "The ECR repository of the image.", "stock-weather-dagster")
        tag = self._text("ImageTag", "The image's tag.")
        self._role_arn = self._text("DagsterRoleArn", "The main stack's output of that name.")
        self._settings = {
            variable: self._text(name, "The main stack's output of that name.") for name, variable in SETTINGS.items()
        }
        self._settings |= {
            "STOCK_WEATHER_DEPLOYMENT": "aws",
            "STOCK_WEATHER_HOME": "/tmp",
            "STOCK_WEATHER_TICKERS": self._text("Tickers", "As in the main stack.", "NVDA"),
            "STOCK_WEATHER_LOCATIONS": self._text("Locations", "As in the main stack.", "New York;Santa Clara"),
            "STOCK_WEATHER_START_DATE": self._text("StartDate", "The first partition.", "2024-01-01"),
            "STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE": self._text("PolygonCallsPerMinute", "The vendor's quota.", "5"),
            "STOCK_WEATHER_INGESTION": self._text("Ingestion", "Who asks the vendors: run or lambda.", "run"),
        }
        self._names = Names(prefix)
        self._cluster_name = f"{prefix}-dagster"
        self._image = f"{Aws.ACCOUNT_ID}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}/{repository}:{tag}"
        vpc = self._network()
        tasks = ec2.SecurityGroup(self, "Tasks", vpc=vpc, description="Dagster: nobody comes in, anything goes out")
        self._database = self._postgres(vpc, tasks)
        self._log_group = logs.CfnLogGroup(self, "Log", log_group_name=f"/ecs/{prefix}-dagster", retention_in_days=30)
        self._log_group.apply_removal_policy(RemovalPolicy.DESTROY)
        cluster = ecs.CfnCluster(self, "Cluster", cluster_name=self._cluster_name)
        acknowledge(cluster, "AwsSolutions-ECS4", "Two services and a task a run: logs and own metrics say enough.")
        self._execution_role = self._execution(repository)
        run = self._task("Run", [], _RUN_CPU, _RUN_MEMORY_MB, {})
        launching = self._may_launch(run)
        for name, command in _SERVICES.items():
            task = self._task(name.title(), command, _CPU, _MEMORY_MB, {"STOCK_WEATHER_RUN_TASK": run.ref})
            self._service(name, task, cluster, vpc, tasks).add_resource_dependency(launching)
        acknowledge(self, "CloudFormation-Validate::W2509", "The ARN of a secret is no secret.")
        Tags.of(self).add("application", prefix)
        CfnOutput(self, "ClusterName", value=self._cluster_name, description="For the port forwarding of docs/aws.md")

    def _text(self, name: str, description: str, default: str | None = None) -> str:
        return CfnParameter(self, name, type="String", description=description, default=default).value_as_string

    def _network(self) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Network",
            max_azs=2,
            # Tasks have addresses of their own; a NAT gateway would cost more than everything else here.
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="tasks", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24),
                ec2.SubnetConfiguration(name="database", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24),
            ],
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )
        acknowledge(vpc, "AwsSolutions-VPC7", "No rule lets anybody in; flow logs would cost more than the tasks.")
        return vpc

    def _postgres(self, vpc: ec2.Vpc, tasks: ec2.SecurityGroup) -> rds.CfnDBInstance:
        group = ec2.SecurityGroup(self, "Database", vpc=vpc, description="Records of Dagster", allow_all_outbound=False)
        group.add_ingress_rule(tasks, ec2.Port.tcp(5432), "Dagster")
        subnets = rds.CfnDBSubnetGroup(
            self,
            "DatabaseSubnets",
            db_subnet_group_description="Records of Dagster",
            subnet_ids=vpc.select_subnets(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED).subnet_ids,
        )
        database = rds.CfnDBInstance(
            self,
            "Postgres",
            engine="postgres",
            engine_version="17.10",
            db_instance_class="db.t4g.micro",
            allocated_storage="20",
            storage_type="gp3",
            storage_encrypted=True,
            db_name="dagster",
            master_username="dagster",
            manage_master_user_password=True,
            publicly_accessible=False,
            db_subnet_group_name=subnets.ref,
            vpc_security_groups=[group.security_group_id],
            backup_retention_period=7,
            copy_tags_to_snapshot=True,
            auto_minor_version_upgrade=True,
            deletion_protection=False,
        )
        database.apply_removal_policy(RemovalPolicy.SNAPSHOT)
        for rule, reason in {
            "AwsSolutions-RDS3": "It holds the history of runs only; a day without the UI costs no data.",
            "AwsSolutions-RDS10": "A snapshot is made when the stack is deleted.",
            "AwsSolutions-RDS11": "Nobody but the tasks' security group reaches the port.",
            "AwsSolutions-SMG4": "RDS makes and rotates the password.",
        }.items():
            acknowledge(database, rule, reason)
        return database

    def _execution(self, repository: str) -> iam.Role:
        return permissions.role(
            self,
            "ExecutionRole",
            "Starts Dagster's containers: pulls the image, reads the database's password, writes logs",
            permissions.service("ecs-tasks", account=Aws.ACCOUNT_ID),
            [
                permissions.allow(("ecr:GetAuthorizationToken",), ["*"]),
                permissions.allow(
                    ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
                    [self._names.arn("ecr", f"repository/{repository}")],
                ),
                permissions.read_secret(self._database.attr_master_user_secret_secret_arn),
                permissions.write_logs(self._names, f"/ecs/{self._names.prefix}-dagster"),
            ],
        )

    def _may_launch(self, run: ecs.CfnTaskDefinition) -> iam.CfnRolePolicy:
        """What Dagster's role of the main stack may do beside: start a task for a run, and be reached by people."""
        names = self._names
        tasks = names.arn("ecs", f"task/{self._cluster_name}/*")
        return permissions.attach(
            self,
            "Launching",
            Fn.select(1, Fn.split("/", self._role_arn)),
            [
                permissions.allow(("ecs:RunTask",), [run.ref]),
                permissions.allow(("ecs:DescribeTasks", "ecs:StopTask", "ecs:TagResource"), [tasks]),
                permissions.allow(("ecs:DescribeTaskDefinition", "ec2:DescribeNetworkInterfaces"), ["*"]),
                permissions.allow(("iam:PassRole",), [self._role_arn, self._execution_role.role_arn]),
                permissions.allow(
                    (
                        "ssmmessages:CreateControlChannel",
                        "ssmmessages:CreateDataChannel",
                        "ssmmessages:OpenControlChannel",
                        "ssmmessages:OpenDataChannel",
                    ),
                    ["*"],
                ),
            ],
        )

    def _task(
        self, construct_id: str, command: list[str], cpu: str, memory_mb: str, extra: dict[str, str]
    ) -> ecs.CfnTaskDefinition:
        secret = self._database.attr_master_user_secret_secret_arn
        environment = {
            **self._settings,
            "AWS_REGION": Aws.REGION,
            "DAGSTER_EVENT_BATCH_SIZE": "1000",
            "DAGSTER_POSTGRES_HOST": self._database.attr_endpoint_address,
            "DAGSTER_POSTGRES_USER": "dagster",
            **extra,
        }
        task = ecs.CfnTaskDefinition(
            self,
            construct_id,
            family=f"{self._names.prefix}-{construct_id.lower()}",
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=cpu,
            memory=memory_mb,
            execution_role_arn=self._execution_role.role_arn,
            task_role_arn=self._role_arn,
            container_definitions=[
                ecs.CfnTaskDefinition.ContainerDefinitionProperty(
                    name=CONTAINER,
                    image=self._image,
                    essential=True,
                    command=command or None,
                    environment=[
                        ecs.CfnTaskDefinition.KeyValuePairProperty(name=name, value=value)
                        for name, value in sorted(environment.items())
                    ],
                    secrets=[
                        ecs.CfnTaskDefinition.SecretProperty(
                            name="DAGSTER_POSTGRES_PASSWORD", value_from=f"{secret}:password::"
                        )
                    ],
                    log_configuration=ecs.CfnTaskDefinition.LogConfigurationProperty(
                        log_driver="awslogs",
                        options={
                            "awslogs-group": self._log_group.ref,
                            "awslogs-region": Aws.REGION,
                            "awslogs-stream-prefix": construct_id.lower(),
                        },
                    ),
                )
            ],
        )
        acknowledge(task, "AwsSolutions-ECS2", "Names of buckets and tables are no secrets; the password is one.")
        return task

    def _service(
        self,
        name: str,
        task: ecs.CfnTaskDefinition,
        cluster: ecs.CfnCluster,
        vpc: ec2.Vpc,
        group: ec2.SecurityGroup,
    ) -> ecs.CfnService:
        return ecs.CfnService(
            self,
            f"{name.title()}Service",
            service_name=name,
            cluster=cluster.ref,
            task_definition=task.ref,
            launch_type="FARGATE",
            desired_count=1,
            enable_execute_command=True,
            # Two daemons would start everything twice.
            deployment_configuration=ecs.CfnService.DeploymentConfigurationProperty(
                minimum_healthy_percent=0,
                maximum_percent=100,
                deployment_circuit_breaker=ecs.CfnService.DeploymentCircuitBreakerProperty(enable=True, rollback=True),
            ),
            network_configuration=ecs.CfnService.NetworkConfigurationProperty(
                awsvpc_configuration=ecs.CfnService.AwsVpcConfigurationProperty(
                    subnets=vpc.select_subnets(subnet_type=ec2.SubnetType.PUBLIC).subnet_ids,
                    security_groups=[group.security_group_id],
                    assign_public_ip="ENABLED",
                )
            ),
        )
