# MoEViz in a container: `docker build -t moeviz .` and `docker run -p 8501:8501 moeviz`.
# With a GPU: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t moeviz .
#             docker run --gpus all -p 8501:8501 moeviz
FROM python:3.11-slim AS build
COPY . /source
RUN pip wheel --no-deps --wheel-dir /wheel /source

FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements.txt constraints.txt /tmp/
# torch first, from the index of the wanted kind: the default one brings gigabytes of CUDA.
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep '^torch==' /tmp/requirements.txt)" \
 && pip install --no-cache-dir -r /tmp/requirements.txt
COPY --from=build /wheel /wheel
RUN pip install --no-cache-dir --no-deps /wheel/*.whl && rm -r /wheel /tmp/*.txt

# An account without rights; the hub's cache lies where a volume can be mounted.
RUN useradd --create-home visitor && mkdir /models && chown visitor /models
USER visitor
WORKDIR /home/visitor
ENV HF_HOME=/models STREAMLIT_SERVER_HEADLESS=true STREAMLIT_SERVER_ADDRESS=0.0.0.0
VOLUME /models
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["moeviz", "app"]
