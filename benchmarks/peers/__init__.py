"""The peers' side: Locust files and a Tsung configuration that do what our scenarios do."""
