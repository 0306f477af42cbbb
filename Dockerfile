# syntax=docker/dockerfile:1
FROM mcr.microsoft.com/dotnet/sdk:10.0 AS build
WORKDIR /source
COPY global.json Directory.Build.props Directory.Packages.props .editorconfig ./
COPY protos protos
COPY src src
COPY samples/demo samples/demo
RUN dotnet publish src/Server/Server.csproj --configuration Release --output /app

FROM mcr.microsoft.com/dotnet/aspnet:10.0
WORKDIR /app
COPY --from=build /app .
# The image's own user; it may write nothing but the data folder.
RUN mkdir /data && chown $APP_UID:$APP_UID /data
USER $APP_UID
ENV INFERENCESERVER_GRPC=http://0.0.0.0:5100 \
    INFERENCESERVER_HTTP=http://0.0.0.0:5101 \
    INFERENCESERVER_DATA=/data
VOLUME /data
EXPOSE 5100 5101
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["dotnet", "InferenceServer.Server.dll", "--health-check"]
# The server drains on SIGTERM for 20 s (--drain); docker stop --time 30 leaves it that long.
STOPSIGNAL SIGTERM
ENTRYPOINT ["dotnet", "InferenceServer.Server.dll"]
